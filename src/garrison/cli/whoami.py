"""`garrison whoami [URL]`: who is logged in where; never a token."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from garrison.cli._common import add_json, print_json, print_table, run_async
from garrison.cli._connection import token_storage

if TYPE_CHECKING:
    from garrison.clients.tokens import StoredLogin, TokenStorage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help="one MCP server (default: all)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    found = run_async(_whoami(args.url))
    if args.json:
        print_json(found)
    elif found:
        headings = ("URL", "SUBJECT", "CLIENT", "SCOPES", "EXPIRES", "ISSUER")
        print_table([[str(about[name.lower()] or "-") for name in headings] for about in map(_plain, found)], headings)
    else:
        print("nobody is logged in anywhere; garrison login URL")
    return 0


async def _whoami(url: str | None) -> list[dict[str, Any]]:
    from garrison.base.errors import GarrisonError

    storage = token_storage()
    if url is None:
        return [await _about(storage, login) for login in await storage.logins()]
    login = await storage.login(url)
    if login is None:
        raise GarrisonError(f"nobody is logged in to {url}", f"garrison login {url}")
    return [await _about(storage, login)]


async def _about(storage: "TokenStorage", login: "StoredLogin") -> dict[str, Any]:
    token = await storage.load(login.key)
    return {
        "url": login.url,
        "issuer": login.key.issuer,
        "client": login.key.client_id,
        "subject": token.subject if token else None,
        "scopes": sorted(token.scopes) if token else [],
        "expires": _date(token.expires_at) if token and token.expires_at else None,
        "renewable": bool(token and token.refresh_token),
    }


def _plain(about: dict[str, Any]) -> dict[str, Any]:
    return {**about, "scopes": " ".join(about["scopes"])}


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
