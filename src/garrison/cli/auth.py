"""`garrison auth serve|client|user|grants|keys|migrate`."""

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from garrison.cli import _auth_clients, _auth_grants, _auth_keys, _auth_users
from garrison.cli._auth_store import database_url
from garrison.cli._common import add_home, add_json, print_json, run_async, scopes
from garrison.cli._serve import add_serve_arguments, serve_alone

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from garrison.monitor.store import EventStore

PARTS = {
    "client": (_auth_clients, "add, change or remove clients"),
    "user": (_auth_users, "add, change or remove users"),
    "grants": (_auth_grants, "list or end what users have granted"),
    "keys": (_auth_keys, "list or rotate the signing keys"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(dest="part", metavar="serve|client|user|grants|keys|migrate", required=True)
    serve = parts.add_parser("serve", help="run the authorization server alone", allow_abbrev=False)
    add_home(serve)
    add_serve_arguments(serve, default_port=8080)
    serve.add_argument(
        "--trusted-proxy",
        action="append",
        default=[],
        metavar="NETWORK",
        help="a proxy whose X-Forwarded-For is believed, address or network; repeatable",
    )
    serve.add_argument(
        "--resource",
        action="append",
        required=True,
        metavar="URI",
        help="an MCP server that tokens can be for; repeatable",
    )
    serve.add_argument(
        "--scope",
        default="",
        metavar='"A B"',
        help="what tokens for these can allow (default: what the policy in garrison.toml asks for)",
    )
    for name, (module, text) in PARTS.items():
        module.add_arguments(parts.add_parser(name, help=text, allow_abbrev=False))
    migrate = parts.add_parser(
        "migrate", help="bring the database to this version, as every start does", allow_abbrev=False
    )
    migrate.add_argument(
        "--copy-from", metavar="DATABASE", help="then copy another database, a path or a URL, into this empty one"
    )
    add_home(migrate)
    add_json(migrate)


def run(args: argparse.Namespace) -> int:
    if args.part == "serve":
        return _serve(args)
    run_async(_migrate(args) if args.part == "migrate" else PARTS[args.part][0].run(args))
    return 0


def _serve(args: argparse.Namespace) -> int:
    from garrison.config.server import server_settings
    from garrison.demo.authorization import authorization_server
    from garrison.home import Home

    home = Home(args.home)
    settings = server_settings(home.folder, os.environ)
    granted = scopes(args.scope)

    @asynccontextmanager
    async def build(events: "EventStore") -> "AsyncIterator[ASGIApp]":
        yield authorization_server(home, settings, args.issuer, args.resource, events, args.trusted_proxy, granted)

    return serve_alone(args, "authorization server", build)


async def _migrate(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import open_store
    from garrison.authserver.stores.copying import copy_all
    from garrison.authserver.stores.migrations import HEAD
    from garrison.authserver.stores.store import Store
    from garrison.base.files import make_private_folder

    make_private_folder(args.home)
    store = Store(database_url(args.home))
    try:
        before, copied = await store.migrate(), None
        if args.copy_from:
            _check_there(args.copy_from)
            async with open_store(args.copy_from) as source:
                copied = await copy_all(source, store)
    finally:
        await store.close()
    if args.json:
        print_json({"before": before, "version": HEAD, **({} if copied is None else {"copied": copied})})
        return
    if before == HEAD:
        print(f"the database has version {HEAD} already")
    else:
        print(f"the database was {f'at {before}' if before else 'empty'}, and has version {HEAD} now")
    if copied is not None:
        print(f"copied {copied} rows")


def _check_there(database: str) -> None:
    """Opening a path that is not there would make an empty database of it."""
    from garrison.base.errors import UsageError

    if "://" not in database and not Path(database).exists():
        raise UsageError(f"there is no database {database} to copy")
