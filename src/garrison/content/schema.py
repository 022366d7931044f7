"""Tool arguments against the tools' JSON Schemas: closed, compiled once, checked in time linear in the arguments.

What the engine would take longer for is not begun (effort.py).
The engine is jsonschema-rs. Patterns run on a regex engine without backtracking, so no schema can make a check hang.
One that needs backtracking (look-around, back-references) is refused when it is compiled, like one that is malformed or
refers to another document: nothing is fetched. The typed fields' own rules run where `x-garrison-field` names them.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import jsonschema_rs

from garrison.base.errors import GarrisonError
from garrison.base.events import one_line
from garrison.content import effort, json_in_text
from garrison.content.closing import close
from garrison.content.fields import CHECKS, KEYWORD

__all__ = ["MAX_SENTENCES", "SchemaError", "ToolSchemas", "close"]

MAX_SENTENCES = 5
MAX_EXPLAINED = 1000
"""Values, each as often as the schema looks at it, among which it is said where they are wrong; beyond, only that."""
MAX_TRIED = 5000
"""The same, of arguments that a schema of the worst kind may be held against at all."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_OPTIONS = 200


class SchemaError(GarrisonError):
    """A tool's input schema can't be used, so the tool can't be guarded."""


class ToolSchemas:
    """The compiled input schemas of tools, by the tool's name.

    Attributes:
        declared: the schemas as they were given.

    Raises:
        SchemaError: one of them doesn't compile; names the tool.
    """

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self.declared = schemas
        self._checks = {tool: _Check(tool, schema) for tool, schema in schemas.items()}

    def __contains__(self, tool: object) -> bool:
        """Whether there is a schema for `tool`; without one every call of it is refused."""
        return tool in self._checks

    def check(self, tool: str, arguments: Any) -> list[str]:
        """What is wrong with `arguments`, at most `MAX_SENTENCES` public sentences; [] when nothing is.

        `arguments` are as `parse_json` gives them: the engine recurses, so something must have bounded their depth.
        A sentence names the place by its JSON pointer (RFC 6901) and the rule, and never repeats a value.
        """
        check = self._checks.get(tool)
        if check is None:
            return ["The tool has no input schema here."]
        try:
            return check.problems(arguments)
        except ValueError:  # what no JSON text holds, such as a key that is no string
            return ["The arguments are not plain JSON."]


class _Check:
    """The compiled schema of one tool. Raises `SchemaError`."""

    def __init__(self, tool: str, schema: Mapping[str, Any]) -> None:
        try:
            self._schema = close(schema)
            self._validator = _compile(self._schema)
            self._tries_again = effort.tries_again(self._schema)
            self._compares_all = effort.compares_all(self._schema)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:  # they meet any shape of a schema
            reason = one_line(str(error).split("\n", 1)[0])
            raise SchemaError(f"The input schema of the tool {one_line(tool)} can't be used: {reason}.") from error

    def problems(self, arguments: Any) -> list[str]:
        if self._compares_all and effort.holds_large_number(arguments):
            return ["The arguments hold a whole number of more than 64 bits, which can't be compared here."]
        if self._tries_again and effort.is_more_than(MAX_TRIED, self._schema, arguments):
            return ["The arguments are too many, or nested too deep, to be held against the tool's schema."]
        if self._validator.is_valid(arguments):
            return []
        if effort.is_more_than(MAX_EXPLAINED, self._schema, arguments):
            return ["The arguments don't fit the tool's schema, and are too many to say where."]
        return [_sentence(error) for error in islice(self._validator.iter_errors(arguments), MAX_SENTENCES)]


class _TypedField:
    """The keyword `x-garrison-field`; jsonschema-rs makes one for each place where a schema uses it."""

    def __init__(self, schema: dict[str, Any], kind: Any, _path: list[str | int]) -> None:
        if not isinstance(kind, str) or kind not in CHECKS:
            raise ValueError("unknown kind of typed field")
        self._schema = schema
        self._check = CHECKS[kind]

    def validate(self, instance: Any) -> None:
        self._check(instance, self._schema)


class _NoJsonIn:
    """The keyword of json_in_text.py."""

    def __init__(self, _schema: dict[str, Any], names: Any, _path: list[str | int]) -> None:
        self._names = list(names)

    def validate(self, instance: Any) -> None:
        json_in_text.check(instance, self._names)


def _compile(closed: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        closed,
        pattern_options=jsonschema_rs.RegexOptions(),
        validate_formats=True,
        offline=True,
        keywords={KEYWORD: _TypedField, json_in_text.KEYWORD: _NoJsonIn},
    )


_RULES: Mapping[str, str] = {
    "additionalProperties": "has a property that the tool doesn't declare: {}",
    "unevaluatedProperties": "has a property that the tool doesn't declare: {}",
    "falseSchema": "has a value where the tool declares none",
    "required": "lacks the property {}",
    "type": "must be of type {}",
    "enum": "must be one of {}",
    "const": "must be {}",
    "format": "must be in the format {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "minProperties": "must have at least {} properties",
    "maxProperties": "must have at most {} properties",
    "uniqueItems": "must not repeat an item",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "pattern": "must match the pattern {}",
    "anyOf": "fits none of the forms it may have",
    "oneOf": "must fit exactly one of the forms it may have",
}
"""What each keyword demands; {} is its value in the schema, or the undeclared properties' names."""


def _sentence(error: jsonschema_rs.ValidationError) -> str:
    place = "".join(f"/{_name(token)}" for token in error.instance_path) or "The arguments object"
    return one_line(f"{place} {_rule(error)}.")


def _rule(error: jsonschema_rs.ValidationError) -> str:
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Custom):
        return kind.message
    rule = _RULES.get(kind.name, f"breaks the rule {kind.name} of the tool's schema")
    return rule.format(_DEMANDS.get(kind.name, _shown)(kind.value)) if "{}" in rule else rule


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= _MAX_OPTIONS else "what the tool's schema lists"


def _listed(names: list[str]) -> str:
    return ", ".join(map(_name, names[:MAX_SENTENCES]))


def _name(token: str | int) -> str:
    """A property's name if it is plain: callers invent names too, and could put a value there."""
    return str(token) if isinstance(token, int) or _PLAIN_NAME.fullmatch(token) else "(a name that is not plain)"


_DEMANDS: Mapping[str, Callable[[Any], str]] = {
    "additionalProperties": _listed,
    "unevaluatedProperties": _listed,
    "required": str,
    "format": str,
    "pattern": str,
    "type": " or ".join,
}
