"""`garrison auth serve`, `garrison auth client …`, `garrison auth user …`."""

import argparse
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from garrison.cli._common import add_home, add_json, note, print_json, print_table, run_async
from garrison.cli._serve import add_serve_arguments, serve_alone

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from garrison.authserver.records import Client, User
    from garrison.authserver.stores.store import Store
    from garrison.monitor.store import EventStore

GRANTS = ("authorization_code", "refresh_token", "client_credentials")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(dest="part", metavar="serve|client|user", required=True)
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
    _client_arguments(parts.add_parser("client", help="add, list or remove clients", allow_abbrev=False))
    _user_arguments(parts.add_parser("user", help="add, list or remove users", allow_abbrev=False))


def _client_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="add|list|remove", required=True)
    add = verbs.add_parser("add", help="register a client; its secret is shown once", allow_abbrev=False)
    add.add_argument("name", metavar="NAME", help="what users read on the consent page")
    add.add_argument("--grant", action="append", choices=GRANTS, help="repeatable (default: client_credentials)")
    add.add_argument("--scope", required=True, metavar='"A B"', help="everything the client may ever ask for")
    add.add_argument("--redirect-uri", action="append", default=[], metavar="URI", help="repeatable")
    add.add_argument(
        "--resource", action="append", default=[], metavar="URI", help="repeatable (default: any that the server knows)"
    )
    add.add_argument("--public", action="store_true", help="a client that can't keep a secret: none is made")
    add.add_argument(
        "--introspects",
        action="append",
        default=[],
        metavar="URI",
        help="a resource that the client is the server of, whose tokens it may ask about; repeatable",
    )
    add.add_argument(
        "--auth-method",
        choices=("client_secret_basic", "client_secret_post", "private_key_jwt"),
        default="client_secret_basic",
    )
    keys = add.add_mutually_exclusive_group()
    keys.add_argument("--jwks", metavar="FILE", help="the client's public keys (JWK Set), for private_key_jwt")
    keys.add_argument("--jwks-uri", default="", metavar="URL", help="the https address of the client's public keys")
    remove = verbs.add_parser("remove", help="remove a client, and all it was granted", allow_abbrev=False)
    remove.add_argument("client_id", metavar="CLIENT_ID")
    for verb in (add, verbs.add_parser("list", help="list the clients", allow_abbrev=False), remove):
        add_home(verb)
        add_json(verb)


def _user_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="add|list|remove", required=True)
    add = verbs.add_parser("add", help="add a user; a random password is shown once", allow_abbrev=False)
    add.add_argument("name", metavar="NAME")
    add.add_argument("--scope", required=True, metavar='"A B"', help="everything the user may grant")
    remove = verbs.add_parser("remove", help="remove a user, and all they granted", allow_abbrev=False)
    remove.add_argument("name", metavar="NAME")
    for verb in (add, verbs.add_parser("list", help="list the users", allow_abbrev=False), remove):
        add_home(verb)
        add_json(verb)


def run(args: argparse.Namespace) -> int:
    if args.part == "serve":
        return _serve(args)
    verbs = {
        ("client", "add"): _add_client,
        ("client", "list"): _list_clients,
        ("client", "remove"): _remove_client,
        ("user", "add"): _add_user,
        ("user", "list"): _list_users,
        ("user", "remove"): _remove_user,
    }
    run_async(verbs[args.part, args.verb](args))
    return 0


def _serve(args: argparse.Namespace) -> int:
    from garrison.config import server_settings
    from garrison.demo.system import authorization_server
    from garrison.home import Home

    home = Home(args.home)
    settings = server_settings(home.folder, os.environ)

    @asynccontextmanager
    async def build(events: "EventStore") -> "AsyncIterator[ASGIApp]":
        yield authorization_server(home, settings, args.issuer, args.resource, events, args.trusted_proxy)

    return serve_alone(args, "authorization server", build)


@asynccontextmanager
async def _opened(args: argparse.Namespace) -> "AsyncIterator[tuple[Store, EventStore]]":
    """The authorization server's database and the event store of `--home`; both are made if they are missing."""
    from garrison.authserver.admin import open_store
    from garrison.base.files import make_private_folder
    from garrison.home import Home
    from garrison.monitor.store import EventStore

    home = Home(args.home)
    make_private_folder(home.folder)
    async with EventStore(home.events) as events, open_store(home.auth_database_url) as store:
        yield store, events


async def _add_client(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import add_client

    async with _opened(args) as (store, events):
        made = await add_client(
            store,
            args.name,
            grants=args.grant or ["client_credentials"],
            scope=args.scope,
            redirect_uris=args.redirect_uri,
            resources=args.resource,
            introspects=args.introspects,
            jwks=_read_jwks(args.jwks) if args.jwks else None,
            jwks_uri=args.jwks_uri,
            method=args.auth_method,
            public=args.public,
            events=events,
        )
    secret = {} if made.client_secret is None else {"client_secret": made.client_secret}
    if args.json:
        print_json({"client_id": made.client_id, **secret, **_client(made.client)})
        return
    print(f"client_id      {made.client_id}")
    if made.client_secret is not None:
        print(f"client_secret  {made.client_secret}")
        note("the secret is shown this once; only its hash is kept")


def _read_jwks(path: str) -> Any:
    from garrison.base.errors import UsageError

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no JWK Set: {error}") from error


async def _list_clients(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import list_clients

    async with _opened(args) as (store, _):
        found = [{"client_id": client.client_id, **_client(client)} for client in await list_clients(store)]
    if args.json:
        print_json(found)
    else:
        rows = [(c["client_id"], c["client_name"], c["grant_types"], c["scope"]) for c in found]
        print_table([(a, b, " ".join(c), d) for a, b, c, d in rows], ("CLIENT_ID", "NAME", "GRANTS", "SCOPE"))


async def _remove_client(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import remove_client

    async with _opened(args) as (store, _):
        await remove_client(store, args.client_id)
    _removed(args, "client_id", args.client_id)


async def _add_user(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import add_user

    async with _opened(args) as (store, events):
        made = await add_user(store, args.name, scope=args.scope, events=events)
    if args.json:
        print_json({"username": made.username, "password": made.password, **_user(made.user)})
        return
    print(f"username  {made.username}")
    print(f"password  {made.password}")
    note("the password is shown this once; only its hash is kept")


async def _list_users(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import list_users

    async with _opened(args) as (store, _):
        found = [{"username": user.username, **_user(user)} for user in await list_users(store)]
    if args.json:
        print_json(found)
    else:
        print_table([(user["username"], user["scope"]) for user in found], ("USERNAME", "SCOPE"))


async def _remove_user(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import remove_user

    async with _opened(args) as (store, _):
        await remove_user(store, args.name)
    _removed(args, "username", args.name)


def _removed(args: argparse.Namespace, kind: str, name: str) -> None:
    if args.json:
        print_json({"removed": True, kind: name})
    else:
        print(f"removed {name}")


def _client(client: "Client") -> dict[str, Any]:
    """A client in the words of RFC 7591 §2; what is empty for most is left out."""
    from garrison.oauth import scope

    keys = {"jwks": client.jwks, "jwks_uri": client.jwks_uri, "introspects": list(client.introspects)}
    return {
        **{name: value for name, value in keys.items() if value},
        "client_name": client.name,
        "token_endpoint_auth_method": client.method,
        "grant_types": sorted(client.grants),
        "scope": scope.render(client.scope),
        "redirect_uris": list(client.redirect_uris),
        "resources": list(client.resources),
        "disabled": client.disabled,
    }


def _user(user: "User") -> dict[str, Any]:
    from garrison.oauth import scope

    return {"scope": scope.render(user.scope), "disabled": user.disabled}
