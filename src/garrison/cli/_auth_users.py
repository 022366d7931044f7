"""`garrison auth user …`."""

import argparse
from typing import TYPE_CHECKING, Any

from garrison.cli._auth_store import add_verb, opened, told
from garrison.cli._common import note, print_json, print_table

if TYPE_CHECKING:
    from garrison.authserver.admin_factors import Factors
    from garrison.authserver.records import User


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(
        dest="verb", metavar="add|list|show|scope|rotate|reset-factors|disable|enable|remove", required=True
    )
    add = add_verb(verbs, "add", "add a user; a random password is shown once", "NAME")
    add.add_argument("--scope", required=True, metavar='"A B"', help="everything the user may grant")
    add_verb(verbs, "list", "list the users")
    add_verb(verbs, "show", "show a user", "NAME")
    scope = add_verb(verbs, "scope", "change what a user may grant; what they granted shrinks with it", "NAME")
    scope.add_argument("scope", metavar='"A B"', help="everything the user may grant from now on")
    add_verb(verbs, "rotate", "give a user a new random password, shown once; sessions and grants end", "NAME")
    add_verb(verbs, "reset-factors", "leave a user the password alone to sign in with; sessions and grants end", "NAME")
    add_verb(verbs, "disable", "let a user sign in no more; sessions and grants end", "NAME")
    add_verb(verbs, "enable", "let a disabled user sign in again", "NAME")
    add_verb(verbs, "remove", "remove a user, and all they granted", "NAME")


async def run(args: argparse.Namespace) -> None:
    verbs = {
        "add": _add,
        "list": _list,
        "show": _show,
        "scope": _scope,
        "rotate": _rotate,
        "reset-factors": _reset_factors,
        "disable": _disable,
        "enable": _disable,
        "remove": _remove,
    }
    await verbs[args.verb](args)


async def _add(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import add_user

    async with opened(args) as (store, events):
        made = await add_user(store, args.name, scope=args.scope, events=events)
    _told_once(args, made.user, made.password)


async def _list(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import list_users
    from garrison.authserver.admin_factors import Factors, list_factors

    async with opened(args) as (store, _):
        found, by_name = await list_users(store), await list_factors(store)
    rows = [(user, by_name.get(user.username, Factors())) for user in found]
    if args.json:
        print_json([{**_user(user), "factors": vars(factors)} for user, factors in rows])
    else:
        cells = [
            (user.username, "no" if user.disabled else "yes", _factors(factors), _user(user)["scope"])
            for user, factors in rows
        ]
        print_table(cells, ("USERNAME", "ENABLED", "FACTORS", "SCOPE"))


async def _show(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import show_identity, show_user
    from garrison.authserver.admin_factors import show_factors

    async with opened(args) as (store, _):
        shown, factors = _user(await show_user(store, args.name)), await show_factors(store, args.name)
        if identity := await show_identity(store, args.name):
            shown |= dict(zip(("issuer", "subject"), identity, strict=True))
    if args.json:
        print_json({**shown, "factors": vars(factors)})
    else:
        print_table([*shown.items(), ("factors", _factors(factors))], ("USER", ""))


async def _scope(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import set_user_scope

    async with opened(args) as (store, events):
        await set_user_scope(store, args.name, args.scope, events=events)
    told(args, "changed", "username", args.name)


async def _rotate(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import set_password, show_user

    async with opened(args) as (store, events):
        password = await set_password(store, args.name, events=events)
        user = await show_user(store, args.name)
    _told_once(args, user, password)


async def _reset_factors(args: argparse.Namespace) -> None:
    from garrison.authserver.admin_factors import reset_factors

    async with opened(args) as (store, events):
        await reset_factors(store, args.name, events=events)
    told(args, "reset", "username", args.name)


async def _disable(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import disable_user

    async with opened(args) as (store, events):
        await disable_user(store, args.name, disabled=args.verb == "disable", events=events)
    told(args, f"{args.verb}d", "username", args.name)


async def _remove(args: argparse.Namespace) -> None:
    from garrison.authserver.admin import remove_user

    async with opened(args) as (store, events):
        await remove_user(store, args.name, events=events)
    told(args, "removed", "username", args.name)


def _told_once(args: argparse.Namespace, user: "User", password: str) -> None:
    if args.json:
        print_json({**_user(user), "password": password})
        return
    print(f"username  {user.username}")
    print(f"password  {password}")
    note("the password is shown this once; only its hash is kept")


def _user(user: "User") -> dict[str, Any]:
    from garrison.oauth import scope

    return {"username": user.username, "scope": scope.render(user.scope), "disabled": user.disabled}


def _factors(factors: "Factors") -> str:
    """What a user signs in with beside the password, for people."""
    parts = []
    if factors.totp:
        parts.append(f"app ({factors.recovery_codes} recovery codes)")
    if factors.passkeys:
        parts.append(f"{factors.passkeys} {'passkey' if factors.passkeys == 1 else 'passkeys'}")
    return ", ".join(parts) or "none"
