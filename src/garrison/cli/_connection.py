"""What the commands that talk to an MCP server share: who asks, by which issuer, trusting whom.

Each is taken from the command line, else from the environment, else from an earlier `garrison login` to this server,
else from the state folder's first client.
"""

import argparse
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from garrison.cli._common import add_home, note, quiet_libraries
from garrison.cli._credentials import credentials

if TYPE_CHECKING:
    from garrison.clients.login import Login
    from garrison.clients.session import Session
    from garrison.clients.tokens import StoredLogin, TokenStorage


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    add_home(parser)
    parser.add_argument("--client-id", metavar="ID", help="default: $OAUTH_CLIENT_ID, else the state folder's client")
    parser.add_argument("--client-secret-file", type=Path, metavar="FILE", help="a file that holds the client's secret")
    parser.add_argument(
        "--private-key-file", type=Path, metavar="FILE", help="the client's private key, PEM or JWK, mode 0600"
    )
    parser.add_argument("--client-metadata", metavar="URL", help="the client's own metadata document (CIMD)")
    parser.add_argument("--scope", metavar='"A B"', help="what to ask for (default: what the server says is needed)")
    parser.add_argument("--issuer", metavar="URL", help="the authorization server (default: $OAUTH_ISSUER_URL)")
    parser.add_argument(
        "--omit-resource", action="store_true", help="for authorization servers that refuse `resource` (Entra)"
    )
    parser.add_argument(
        "--issuer-shape",
        choices=("keycloak", "entra", "auth0", "okta"),
        help="the product that wrote the tokens, where they are not RFC 9068's (default: $OAUTH_ISSUER_SHAPE)",
    )
    parser.add_argument(
        "--token-audience",
        metavar="AUD",
        help="what its tokens say that they are for, if not the server's URL (default: $OAUTH_TOKEN_AUDIENCE)",
    )
    parser.add_argument(
        "--private-addresses",
        action="store_true",
        help="the server may name an authorization server in a private network",
    )
    parser.add_argument("--login", action="store_true", help="act for a person, who logs in with a browser")
    parser.add_argument("--no-browser", action="store_true", help="log in by an address that is printed")


@dataclass(frozen=True)
class Connection:
    """Everything `garrison.clients.session.connect` wants to know, but the URL."""

    client_id: str | None
    client_secret: str | None = field(repr=False)
    issuer: str | None
    scope: str | None
    trust: ssl.SSLContext
    login: "Login | None"
    storage: "TokenStorage"
    private_key_file: Path | None = None
    client_metadata_url: str | None = None
    omit_resource: bool = False
    issuer_shape: str | None = None
    token_audience: str | None = None
    private_addresses: bool = False

    def options(self) -> dict[str, Any]:
        """The keyword arguments of `connect`. A client's own token isn't kept: it is got again without a person."""
        by_itself = self.login is None and (self.client_secret is not None or self.private_key_file is not None)
        return {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "issuer": self.issuer,
            "scope": self.scope,
            "ssl_context": self.trust,
            "login": self.login,
            "storage": None if by_itself else self.storage,
            "private_key_file": self.private_key_file,
            "client_metadata_url": self.client_metadata_url,
            "omit_resource": self.omit_resource,
            "issuer_shape": self.issuer_shape,
            "token_audience": self.token_audience,
            "private_addresses": self.private_addresses,
        }


def server_url(args: argparse.Namespace) -> str:
    """The URL of the MCP server. Raises `UsageError` if there is none."""
    from garrison.base.errors import UsageError
    from garrison.config.clients import client_settings

    url = args.url or client_settings(os.environ).server_url
    if not url:
        raise UsageError("which MCP server?", "Give its URL (or set MCP_SERVER_URL).")
    return str(url)


def token_storage() -> "TokenStorage":
    """Where this user's logins are kept."""
    from garrison.clients.tokens import TokenStorage
    from garrison.clients.vault import open_vault
    from garrison.config.clients import client_settings

    said = client_settings(os.environ)
    return TokenStorage(open_vault(said.logins, use_keyring=said.use_keyring))


def client_trust(args: argparse.Namespace) -> ssl.SSLContext:
    """Whom to trust: the system's authorities, and the one that the user names or the state folder has.

    A state folder that the user didn't name is the current folder's, which may be anybody's: it speaks for this machine
    alone. Its own list of issuers says nothing here, for whoever made the folder wrote that too.
    """
    from garrison.base.addresses import is_loopback_host
    from garrison.config.clients import client_settings
    from garrison.home import Home
    from garrison.tls.context import client_context, context_by_host

    said, home = client_settings(os.environ), Home(args.home)
    home.check_own(named=args.home_named)
    found = home.ca if home.ca.exists() else None
    ca_file, everywhere = said.ca_file or found, bool(said.ca_file or args.home_named)
    if said.debug_tls:
        where = "" if everywhere else " (for this machine alone)"
        note(f"TLS: trusting the system's authorities{f' and {ca_file}{where}' if ca_file else ''}")
    return client_context(ca_file) if ca_file is None or everywhere else context_by_host(ca_file, is_loopback_host)


async def connection(args: argparse.Namespace, url: str, *, use_stored: bool = True) -> Connection:
    """Raises `GarrisonError`."""
    from garrison.base.errors import UsageError
    from garrison.base.fetch import Fetcher
    from garrison.clients.obtain import discover_local_issuer
    from garrison.config.clients import client_settings
    from garrison.home import Home

    said = client_settings(os.environ)
    home, trust, storage = Home(args.home), client_trust(args), token_storage()
    named = args.client_id or args.client_secret_file or args.private_key_file or args.client_metadata
    if use_stored and not named and not said.client_id and (stored := await storage.login(url)):
        return _as_stored(args, stored, storage, trust)
    client_id, secret = (None, None) if args.client_metadata else credentials(args, home, url)
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
    return Connection(
        client_id,
        secret,
        issuer,
        args.scope,
        trust,
        _login(args),
        storage,
        args.private_key_file,
        args.client_metadata,
        args.omit_resource,
        args.issuer_shape or said.issuer_shape,
        args.token_audience or said.token_audience,
        args.private_addresses,
    )


def _as_stored(
    args: argparse.Namespace, stored: "StoredLogin", storage: "TokenStorage", trust: ssl.SSLContext
) -> Connection:
    """The connection of an earlier `garrison login`, bound to the issuer that it was made at."""
    return Connection(
        stored.client_id,
        stored.client_secret,
        stored.key.issuer,
        args.scope,
        trust,
        _login(args) or _only_on_a_terminal(stored.url),
        storage,
        None,
        stored.client_metadata_url,
        stored.omit_resource,
        stored.issuer_shape,
        stored.token_audience,
        stored.private_addresses or args.private_addresses,
    )


def _only_on_a_terminal(url: str) -> "Login":
    """A login that has ended is renewed in the browser where a person sits, and is an error elsewhere."""
    from garrison.clients.errors import AuthorizationFailed
    from garrison.clients.login import Login, open_browser

    async def refuse(_: str) -> None:
        raise AuthorizationFailed(f"the login to {url} has ended", f"garrison login {url}")

    return Login(open_url=open_browser if sys.stderr.isatty() and sys.stdin.isatty() else refuse)


@asynccontextmanager
async def connected(args: argparse.Namespace) -> "AsyncIterator[Session]":
    """A session with the server that `args` name."""
    from garrison.clients.session import connect

    url = server_url(args)
    how = await connection(args, url)
    quiet_libraries()
    async with connect(url, **how.options()) as session:
        yield session


def _login(args: argparse.Namespace) -> "Login | None":
    from garrison.clients.login import Login, open_browser, print_url

    if not (args.login or args.no_browser):
        return None
    return Login(open_url=print_url if args.no_browser else open_browser)
