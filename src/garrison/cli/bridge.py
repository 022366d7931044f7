"""`garrison bridge URL`."""

import argparse

from garrison.cli._common import run_async
from garrison.cli._connection import add_connection_arguments, connection, server_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help="the MCP server (default: $MCP_SERVER_URL)")
    add_connection_arguments(parser)


def run(args: argparse.Namespace) -> int:
    run_async(_bridge(args))
    return 0


async def _bridge(args: argparse.Namespace) -> None:
    from garrison.clients.bridge import bridge

    url = server_url(args)
    how = await connection(args, url)
    await bridge(url, **how.options())
