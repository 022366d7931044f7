"""What the commands that talk to an MCP server share: who asks, by which issuer, trusting whom.

Each is taken from the command line, else from the environment, else from the state folder's first client.
"""

import argparse
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from garrison.cli._common import add_home, note, quiet_libraries

if TYPE_CHECKING:
    from garrison.clients.login import Login
    from garrison.clients.session import Session
    from garrison.home import Home


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    add_home(parser)
    parser.add_argument("--client-id", metavar="ID", help="default: $OAUTH_CLIENT_ID, else the state folder's client")
    parser.add_argument("--client-secret-file", type=Path, metavar="FILE", help="a file that holds the client's secret")
    parser.add_argument("--scope", metavar='"A B"', help="what to ask for (default: what the server says is needed)")
    parser.add_argument("--issuer", metavar="URL", help="the authorization server (default: $OAUTH_ISSUER_URL)")
    parser.add_argument("--login", action="store_true", help="act for a person, who logs in with a browser")
    parser.add_argument("--no-browser", action="store_true", help="with --login: print the address to open")


@dataclass(frozen=True)
class Connection:
    """Everything `garrison.clients.session.connect` wants to know, but the URL."""

    client_id: str | None
    client_secret: str | None = field(repr=False)
    issuer: str | None
    scope: str | None
    trust: ssl.SSLContext
    login: "Login | None"


def server_url(args: argparse.Namespace) -> str:
    """The URL of the MCP server. Raises `UsageError` if there is none."""
    from garrison.base.errors import UsageError
    from garrison.config import client_settings

    url = args.url or client_settings(os.environ).server_url
    if not url:
        raise UsageError("which MCP server?", "Give its URL (or set MCP_SERVER_URL).")
    return str(url)


async def connection(args: argparse.Namespace, url: str) -> Connection:
    """Raises `GarrisonError`."""
    from garrison.base.errors import UsageError
    from garrison.base.fetch import Fetcher
    from garrison.clients.obtain import discover_local_issuer
    from garrison.config import client_settings
    from garrison.home import Home
    from garrison.tls.context import client_context

    said = client_settings(os.environ)
    home = Home(args.home)
    ca_file = said.ca_file or (home.ca if home.ca.exists() else None)
    trust = client_context(ca_file)
    if said.debug_tls:
        note(f"TLS: trusting the system's authorities{f' and {ca_file}' if ca_file else ''}")
    client_id, secret = _credentials(args, home)
    issuer = args.issuer or said.issuer
    if client_id and issuer is None and secret is not None:
        async with Fetcher(trust, private_addresses=True) as fetcher:
            issuer = await discover_local_issuer(url, fetcher)
        if args.client_id is None and issuer not in home.issuers():
            # Nobody said that this client belongs there: any program on this machine could ask for its secret.
            raise UsageError(
                f"{url} uses an authorization server that {home.folder} does not know",
                f"Say --issuer {issuer} if the client's secret may go there.",
            )
    return Connection(client_id, secret, issuer, args.scope, trust, _login(args))


@asynccontextmanager
async def connected(args: argparse.Namespace) -> "AsyncIterator[Session]":
    """A session with the server that `args` name."""
    from garrison.clients.session import connect

    url = server_url(args)
    how = await connection(args, url)
    quiet_libraries()
    async with connect(
        url,
        client_id=how.client_id,
        client_secret=how.client_secret,
        issuer=how.issuer,
        scope=how.scope,
        ssl_context=how.trust,
        login=how.login,
    ) as session:
        yield session


def _credentials(args: argparse.Namespace, home: "Home") -> tuple[str | None, str | None]:
    """Client id and secret, which always come from the same place."""
    from garrison.base.errors import UsageError
    from garrison.config import client_settings

    if args.client_secret_file and not args.client_id:
        raise UsageError("--client-secret-file without --client-id", "Give both.")
    if args.client_id:
        return args.client_id, _secret(args.client_secret_file) if args.client_secret_file else None
    said = client_settings(os.environ)
    if said.client_id:
        return said.client_id, said.client_secret
    if home.client.exists():
        first = home.read_credentials(home.client)
        return first.get("client_id"), first.get("client_secret")
    return None, None


def _secret(file: Path) -> str:
    from garrison.base.errors import UsageError

    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} can't be read: {getattr(error, 'strerror', None) or 'not text'}") from error
    if not secret:
        raise UsageError(f"{file} is empty", "It must hold the client's secret and nothing else.")
    return secret


def _login(args: argparse.Namespace) -> "Login | None":
    from garrison.clients.login import Login, open_browser, print_url

    if not (args.login or args.no_browser):
        return None
    return Login(open_url=print_url if args.no_browser else open_browser)
