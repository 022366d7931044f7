"""`garrison token`: prints an access token and nothing else."""

import argparse

from garrison.cli._common import run_async
from garrison.cli._connection import add_connection_arguments, connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_connection_arguments(parser)
    parser.add_argument("--resource", required=True, metavar="URI", help="the MCP server that the token is for")


def run(args: argparse.Namespace) -> int:
    print(run_async(_token(args)))
    return 0


async def _token(args: argparse.Namespace) -> str:
    from garrison.base.fetch import Fetcher
    from garrison.clients.destination import is_local
    from garrison.clients.means import Wanted
    from garrison.clients.obtain import obtain_token

    how = await connection(args, args.resource)
    wanted = Wanted(args.resource, **{name: value for name, value in how.options().items() if name != "ssl_context"})
    async with Fetcher(how.trust, private_addresses=how.private_addresses or is_local(args.resource)) as fetcher:
        return (await obtain_token(wanted, fetcher)).access_token
