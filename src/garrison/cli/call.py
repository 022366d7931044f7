"""`garrison call URL TOOL key=value …`."""

import argparse
import json
import math
from collections.abc import Iterator
from typing import Any

from garrison.base.errors import GarrisonError, UsageError
from garrison.cli._common import add_json, print_json, run_async, shown
from garrison.cli._connection import add_connection_arguments, connected


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="the MCP server")
    parser.add_argument("tool", metavar="TOOL")
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="key=value",
        help="an argument: text, or JSON where the tool's schema takes no text; key:=JSON is always JSON",
    )
    add_connection_arguments(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    return run_async(_call(args))


async def _call(args: argparse.Namespace) -> int:
    from garrison.clients.display import display

    given = [split(argument) for argument in args.arguments]
    async with connected(args) as session:
        schemas = {tool.name: tool.input_schema for tool in await session.tools()}
        properties = schemas.get(args.tool, {}).get("properties")
        known = properties if isinstance(properties, dict) else {}
        arguments = {key: value(text, force, known.get(key)) for key, text, force in given}
        result = await session.call(args.tool, arguments)
    text = "\n".join(block.text for block in result.content if block.type == "text")
    if args.json:
        print_json(result.model_dump(mode="json", by_alias=True, exclude_none=True))
    elif result.is_error:
        raise GarrisonError(f"{args.tool} answered with an error: {shown(text)}")
    else:
        print(display(args.tool, result.structured_content or text))
    return 1 if result.is_error else 0


def split(argument: str) -> tuple[str, str, bool]:
    """Key, text and whether it must be JSON, of `key=text` or `key:=json`. Raises `UsageError`."""
    key, equals, text = argument.partition("=")
    if not equals or not key.removesuffix(":"):
        raise UsageError(f"{argument!r} is not key=value")
    return key.removesuffix(":"), text, key.endswith(":")


def value(text: str, force: bool, schema: Any) -> Any:
    """`text`, or the JSON in it where the schema takes no text, or where it is forced. Raises `UsageError`."""
    if not force and _takes_text(schema):
        return text
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{text[:80]!r} is not JSON", "The tool wants a number, list or object there.") from error


def _finite(text: str) -> float:
    """The number in `text`. Raises `ValueError` for NaN and what is too large: JSON has neither (RFC 8259 §6)."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _takes_text(schema: Any) -> bool:
    """Whether a schema, which is whatever the server says it is, takes text; it does if it names no type."""
    named = list(_types(schema))
    return not named or "string" in named


def _types(schema: Any) -> Iterator[Any]:
    """The types that `schema` names: one or several (JSON Schema validation §6.1.1), its alternatives' too."""
    if not isinstance(schema, dict):  # true and false are schemas as well
        return
    alternatives = [schema.get(word) for word in ("anyOf", "oneOf")]
    for kind in [schema, *(kind for kinds in alternatives if isinstance(kinds, list) for kind in kinds)]:
        if isinstance(kind, dict) and "type" in kind:
            said = kind["type"]
            yield from said if isinstance(said, list) else [said]
