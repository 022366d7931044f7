r"""RFC 8259: JSON text to values, strictly, with caps that hold before the parser goes deep.

Refused, where Python's own parser is lenient and others read something else: duplicate names, NaN and Infinity, numbers
that overflow to infinity, lone surrogates, other encodings than UTF-8, a byte order mark.

Compact JSON, as MCP's clients send it, is read by a faster parser and written again: when that gives the same bytes,
there was nothing in them that two parsers could read in two ways. Whatever else comes is read strictly, by Python's,
and so is what the other one would be slower at.
"""

import json
import re
from typing import Any, NoReturn

import msgspec

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32

# A string to its closing quote, or to the end where there is none; possessive, so the time is linear.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_SHORT = 4096
"""Bytes in which the faster parser may find numbers with exponents: those near a float's ends take it 20 µs each."""
_EXPONENT = re.compile(rb"[0-9][eE][-+0-9]")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


class JsonError(ValueError):
    """The text is not the JSON we take; the message is public and repeats nothing of it."""


def parse_json(data: bytes, *, max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES) -> Any:
    """The value that `data` holds; `max_depth` counts nested arrays and objects.

    Raises:
        JsonError: it holds no JSON value, or none that we take.
    """
    if len(data) > max_bytes:
        raise JsonError(f"The JSON text is longer than {max_bytes} bytes.")
    if _deeper_than(data, max_depth):
        raise JsonError(f"The JSON text nests deeper than {max_depth} levels.")
    if len(data) > _SHORT and _EXPONENT.search(data):
        return _parse_strictly(data)
    try:
        value = _read(data)
        if _write(value) == data:
            return value
    except (ValueError, RecursionError):  # the strict parser says what is wrong, if anything is
        pass
    return _parse_strictly(data)


def _parse_strictly(data: bytes) -> Any:
    try:
        value = _DECODE(data.decode("utf-8"))
        if _SURROGATE_ESCAPE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except JsonError:
        raise
    except UnicodeError as error:
        raise JsonError("The JSON text is not Unicode text in UTF-8.") from error
    except ValueError as error:
        raise JsonError("The JSON text is malformed.") from error
    return value


def _deeper_than(data: bytes, max_depth: int) -> bool:
    """Whether brackets outside strings nest deeper; malformed text may answer either way, and fails later."""
    if data.count(b"[") + data.count(b"{") <= max_depth:
        return False
    brackets = _STRING.sub(b"", data).translate(_AS_SQUARE, _NOT_BRACKETS)
    for _ in range(max_depth):
        brackets = brackets.replace(b"[]", b"")  # takes away exactly the innermost level
    return bool(brackets)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonError("The JSON text has an object with a duplicate name.")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise JsonError("The JSON text holds NaN or Infinity.")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise JsonError("The JSON text holds a number out of range.")
    return number


_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder().encode
_DECODE = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite).decode
