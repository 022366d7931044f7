"""`garrison login URL`: one login in the browser, which all later commands, in all processes, share."""

import argparse

from garrison.cli._common import note, quiet_libraries, run_async
from garrison.cli._connection import add_connection_arguments, connection, server_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help="the MCP server (default: $MCP_SERVER_URL)")
    add_connection_arguments(parser)


def run(args: argparse.Namespace) -> int:
    run_async(_login(args))
    return 0


async def _login(args: argparse.Namespace) -> None:
    from garrison.base.events import one_line
    from garrison.clients.session import connect
    from garrison.clients.tokens import StoredLogin, TokenKey

    url = server_url(args)
    args.login = True
    how = await connection(args, url, use_stored=False)
    quiet_libraries()
    async with connect(url, **how.options()) as session:
        token = session.token
    if token is None:
        note(f"{url} wants no token: there is nothing to log in to.")
        return
    key = TokenKey(token.issuer, token.resource, token.client_id)
    await how.storage.save_login(
        StoredLogin(
            url,
            key,
            how.client_id,
            how.client_secret,
            how.client_metadata_url,
            how.omit_resource,
            how.issuer_shape,
            how.token_audience,
            how.private_addresses,
        )
    )
    print(f"logged in to {url} as {one_line(token.subject) or 'somebody whom the token does not name'}")
