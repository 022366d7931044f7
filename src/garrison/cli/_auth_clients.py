"""`garrison auth client …`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from garrison.cli._auth_store import add_verb, opened, told
from garrison.cli._common import note, print_json, print_table

if TYPE_CHECKING:
    from garrison.authserver.admin import NewClient
    from garrison.authserver.records import Client

GRANTS = ("authorization_code", "refresh_token", "client_credentials")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="add|list|show|rotate|disable|enable|remove", required=True)
    add = add_verb(verbs, "add", "register a client; its secret is shown once")
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
    add_verb(verbs, "list", "list the clients")
    add_verb(verbs, "show", "show a client", "CLIENT_ID")
    add_verb(verbs, "rotate", "give a client a new secret, shown once; the old one ends", "CLIENT_ID")
    add_verb(verbs, "disable", "refuse a client, and end all it was granted", "CLIENT_ID")
    add_verb(verbs, "enable", "let a disabled client ask again", "CLIENT_ID")
    add_verb(verbs, "remove", "remove a client, and all it was granted", "CLIENT_ID")


async def run(args: argparse.Namespace) -> None:
    verbs = {
        "add": _add,
        "list": _list,
        "show": _show,
        "rotate": _rotate,
        "disable": _disable,
        "enable": _disable,
        "remove": _remove,
    }
    await verbs[args.verb](args)


async def _add(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import add_client

    async with opened(args) as (store, events):
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
    _told_once(args, made)


def _read_jwks(path: str) -> Any:
    from garrison.base.errors import UsageError

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no JWK Set: {error}") from error


async def _list(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import list_clients

    async with opened(args) as (store, _):
        found = [_client(client) for client in await list_clients(store)]
    if args.json:
        print_json(found)
    else:
        rows = [
            (c["client_id"], c["client_name"], " ".join(c["grant_types"]), "no" if c["disabled"] else "yes", c["scope"])
            for c in found
        ]
        print_table(rows, ("CLIENT_ID", "NAME", "GRANTS", "ENABLED", "SCOPE"))


async def _show(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import show_client

    async with opened(args) as (store, _):
        shown = _client(await show_client(store, args.client_id))
    if args.json:
        print_json(shown)
    else:
        print_table([(key, _text(value)) for key, value in shown.items()], ("CLIENT", ""))


async def _rotate(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import rotate_client_secret

    async with opened(args) as (store, events):
        made = await rotate_client_secret(store, args.client_id, events=events)
    _told_once(args, made)


async def _disable(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import disable_client

    async with opened(args) as (store, events):
        await disable_client(store, args.client_id, disabled=args.verb == "disable", events=events)
    told(args, f"{args.verb}d", "client_id", args.client_id)


async def _remove(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import remove_client

    async with opened(args) as (store, events):
        await remove_client(store, args.client_id, events=events)
    told(args, "removed", "client_id", args.client_id)


def _told_once(args: argparse.Namespace, made: "NewClient") -> None:
    secret = {} if made.client_secret is None else {"client_secret": made.client_secret}
    if args.json:
        print_json({**secret, **_client(made.client)})
        return
    print(f"client_id      {made.client_id}")
    if made.client_secret is not None:
        print(f"client_secret  {made.client_secret}")
        note("the secret is shown this once; only its hash is kept")


def _client(client: "Client") -> dict[str, Any]:
    """A client in the words of RFC 7591 §2; what is empty for most is left out."""
    from garrison.oauth import scope

    keys = {"jwks": client.jwks, "jwks_uri": client.jwks_uri, "introspects": list(client.introspects)}
    return {
        "client_id": client.client_id,
        **{name: value for name, value in keys.items() if value},
        "client_name": client.name,
        "token_endpoint_auth_method": client.method,
        "grant_types": sorted(client.grants),
        "scope": scope.render(client.scope),
        "redirect_uris": list(client.redirect_uris),
        "resources": list(client.resources),
        "disabled": client.disabled,
    }


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
