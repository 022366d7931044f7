"""Typed fields: what a tool's parameter may hold, said once, in the tool's signature.

Each is metadata for `Annotated` that Pydantic (so FastMCP and the SDK, too) validates by, and that shows in the tool's
JSON Schema as `x-garrison-field`, so that a guard that knows only the schema applies the same rule:

    Subject = Annotated[str, PlainText(max_length=200, multiline=False)]
    def create_ticket(customer_id: CustomerId, subject: Subject) -> Ticket: ...

No field refuses text for looking like code; what stands behind the tool binds, escapes or parses.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from garrison.content import text

KEYWORD = "x-garrison-field"
"""The JSON Schema keyword. Its values: `text` (several lines), `line` (one), `id`, `money`, `choice`."""

JsonSchema = dict[str, Any]
_MAX_MONEY = Decimal(10**15)
_MAX_PLACES = 9
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_DECIMAL = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class PlainText:
    """Free text in canonical form (text.py), stored as NFC. `max_length` and `min_length` count code points."""

    max_length: int
    min_length: int = 1
    multiline: bool = True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        string = core_schema.str_schema(strict=True, min_length=self.min_length, max_length=self.max_length)
        return core_schema.no_info_after_validator_function(self._canonical, string)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return {**handler(schema), KEYWORD: "text" if self.multiline else "line"}

    def _canonical(self, value: str) -> str:
        if self.min_length and not value.strip():
            raise ValueError("is blank")
        stored = text.canonical(value, multiline=self.multiline)
        if len(stored) > self.max_length:  # NFC makes a few characters into several
            raise ValueError(f"must have at most {self.max_length} characters in Unicode's NFC")
        return stored


@dataclass(frozen=True, slots=True)
class Identifier:
    """An ASCII key of one thing. `pattern` must be anchored; `$` is the very end, as in ECMA 262, unlike Python."""

    pattern: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        string = core_schema.str_schema(strict=True, pattern=self.pattern, regex_engine="rust-regex")
        return core_schema.no_info_after_validator_function(_checked_identifier, string)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return {**handler(schema), KEYWORD: "id"}


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount: a JSON number or a decimal string without exponent. A float is the decimal that it prints as."""

    minimum: Decimal | int
    maximum: Decimal | int
    places: int = 2

    def __post_init__(self) -> None:
        if not (-_MAX_MONEY <= self.minimum <= self.maximum <= _MAX_MONEY and 0 <= self.places <= _MAX_PLACES):
            raise ValueError(f"Money needs minimum <= maximum within {_MAX_MONEY} and up to {_MAX_PLACES} places")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        as_string = core_schema.to_string_ser_schema(when_used="json")
        return core_schema.no_info_plain_validator_function(self.parse, serialization=as_string)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        fraction = rf"(\.[0-9]{{1,{self.places}}})?" if self.places else ""
        return {
            "type": ["number", "string"],
            "minimum": _json_number(self.minimum),
            "maximum": _json_number(self.maximum),
            "multipleOf": float(Decimal(1).scaleb(-self.places)) if self.places else 1,
            "pattern": f"^-?[0-9]{{1,16}}{fraction}$",
            KEYWORD: "money",
        }

    def parse(self, value: Any) -> Decimal:
        """`value` exactly, with `places` decimal places.

        Raises:
            ValueError: it is no finite decimal number, out of range, or has more places.
        """
        amount = _decimal(value)
        if not self.minimum <= amount <= self.maximum:
            raise ValueError(f"must be between {self.minimum} and {self.maximum}")
        rounded = round(amount, self.places)
        if rounded != amount:
            raise ValueError(f"must have at most {self.places} decimal places")
        return abs(rounded) if rounded.is_zero() else rounded


CustomerId = Annotated[str, Identifier(r"^[A-Z0-9]{5,10}$")]
Priority = Annotated[Literal["low", "normal", "high", "urgent"], Field(json_schema_extra={KEYWORD: "choice"})]


def _checked_identifier(value: str) -> str:
    if not _IDENTIFIER.fullmatch(value):
        raise ValueError("is not an identifier of ASCII letters, digits and . _ : @ -")
    return value


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("is not a number")  # noqa: TRY004  Pydantic passes only ValueError on to the caller
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise ValueError("is not a decimal number such as 12.50")
    amount = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not amount.is_finite():
        raise ValueError("is not a finite number")
    return amount


def _json_number(number: Decimal | int) -> int | float:
    return int(number) if number == int(number) else float(number)


# What the guard checks beyond the standard keywords, by kind: the value and its schema -> None, or ValueError.


def _is_string(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether there is text to check; what else may stand there is for the schema's `type`, if it has one."""
    if not isinstance(value, str) and "type" not in schema:
        raise ValueError("is not a string")
    return isinstance(value, str)


def _check_text(value: Any, schema: Mapping[str, Any], *, multiline: bool = True) -> None:
    if _is_string(value, schema):
        if schema.get("minLength") and value.isspace():
            raise ValueError("is blank")
        text.canonical(value, multiline=multiline)


def _check_line(value: Any, schema: Mapping[str, Any]) -> None:
    _check_text(value, schema, multiline=False)


def _check_identifier(value: Any, schema: Mapping[str, Any]) -> None:
    if _is_string(value, schema):
        _checked_identifier(value)


def _check_money(value: Any, schema: Mapping[str, Any]) -> None:
    """The schema's keywords bound numbers; a string's value they don't see."""
    if isinstance(value, str) or "type" not in schema:
        amount = _decimal(value)
        least, most = (_decimal(schema.get(side, limit)) for side, limit in _MONEY_RANGE.items())
        if not least <= amount <= most:
            raise ValueError(f"must be between {least} and {most}")


def _check_choice(_value: Any, _schema: Mapping[str, Any]) -> None:
    """The schema's `enum` says it all."""


_MONEY_RANGE = {"minimum": -_MAX_MONEY, "maximum": _MAX_MONEY}

CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "text": _check_text,
    "line": _check_line,
    "id": _check_identifier,
    "money": _check_money,
    "choice": _check_choice,
}
