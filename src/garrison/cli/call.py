"""`garrison call URL TOOL key=value …`."""

import argparse
import json
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
        properties = schemas.get(args.tool, {}).get("properties", {})
        arguments = {key: value(text, force, properties.get(key, {})) for key, text, force in given}
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


def value(text: str, force: bool, schema: dict[str, Any]) -> Any:
    """`text`, or the JSON in it where the schema takes no text, or where it is forced. Raises `UsageError`."""
    if not force and _takes_text(schema):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{text[:80]!r} is not JSON", "The tool wants a number, list or object there.") from error


def _takes_text(schema: dict[str, Any]) -> bool:
    kinds = [schema, *schema.get("anyOf", []), *schema.get("oneOf", [])]
    named = [kind["type"] for kind in kinds if "type" in kind]
    return not named or "string" in named
