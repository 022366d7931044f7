"""`garrison tools URL`."""

import argparse

from garrison.cli._common import add_json, print_json, print_table, run_async
from garrison.cli._connection import add_connection_arguments, connected


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help="the MCP server (default: $MCP_SERVER_URL)")
    add_connection_arguments(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    return run_async(_tools(args))


async def _tools(args: argparse.Namespace) -> int:
    async with connected(args) as session:
        tools = await session.tools()
    if args.json:
        print_json([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools])
    else:
        print_table(
            [(tool.name, _arguments(tool.input_schema), (tool.description or "").strip()) for tool in tools],
            ("TOOL", "ARGUMENTS", "WHAT IT DOES"),
        )
    return 0


def _arguments(schema: dict[str, object]) -> str:
    properties = schema.get("properties")
    return " ".join(properties) if isinstance(properties, dict) else ""
