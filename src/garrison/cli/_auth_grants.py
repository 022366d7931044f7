"""`garrison auth grants …`: what users have let clients have."""

import argparse
from typing import TYPE_CHECKING, Any

from garrison.cli._auth_store import add_verb, opened, told, when
from garrison.cli._common import print_json, print_table

if TYPE_CHECKING:
    from garrison.authserver.records import Family


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="list|show|remove", required=True)
    listed = add_verb(verbs, "list", "list the living grants")
    listed.add_argument("--user", metavar="NAME", help="of this user only")
    listed.add_argument("--client", metavar="CLIENT_ID", help="of this client only")
    add_verb(verbs, "show", "show a grant, living or ended", "ID")
    add_verb(verbs, "remove", "end a grant: its refresh tokens are dead", "ID")


async def run(args: argparse.Namespace) -> None:
    await {"list": _list, "show": _show, "remove": _remove}[args.verb](args)


async def _list(args: argparse.Namespace) -> None:
    from garrison.authserver.admin_grants import list_grants

    async with opened(args) as (store, _):
        found = await list_grants(store, username=args.user, client_id=args.client)
    if args.json:
        print_json([_grant(grant) for grant in found])
    else:
        rows = [(g.id, g.username, g.client_id, " ".join(sorted(g.scope)), when(g.expires_at)) for g in found]
        print_table(rows, ("ID", "USER", "CLIENT_ID", "SCOPE", "UNTIL"))


async def _show(args: argparse.Namespace) -> None:
    from garrison.authserver.admin_grants import show_grant

    async with opened(args) as (store, _):
        shown = _grant(await show_grant(store, args.id))
    if args.json:
        print_json(shown)
    else:
        print_table(list(shown.items()), ("GRANT", ""))


async def _remove(args: argparse.Namespace) -> None:
    from garrison.authserver.admin_grants import revoke_grant

    async with opened(args) as (store, events):
        await revoke_grant(store, args.id, events=events)
    told(args, "removed", "id", args.id)


def _grant(grant: "Family") -> dict[str, Any]:
    from garrison.oauth import scope

    return {
        "id": grant.id,
        "username": grant.username,
        "client_id": grant.client_id,
        "scope": scope.render(grant.scope),
        "resource": grant.resource,
        "created_at": when(grant.created_at),
        "expires_at": when(grant.expires_at),
        "revoked": grant.revoked,
    }
