"""`garrison auth keys …`: the keys that access tokens are signed with."""

import argparse
import time
from typing import Any

from garrison.cli._auth_store import add_verb, opened, when
from garrison.cli._common import note, print_json, print_table

ALGORITHMS = ("RS256", "ES256", "EdDSA")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="list|rotate", required=True)
    add_verb(verbs, "list", "list the keys, and which one signs")
    rotate = add_verb(verbs, "rotate", "publish a new key, which signs a quarter of an hour later")
    rotate.add_argument("--alg", choices=ALGORITHMS, default="RS256", help="default: RS256")
    rotate.add_argument(
        "--compromised",
        action="store_true",
        help="sign with it at once and withdraw all others: every token that is out is refused",
    )


async def run(args: argparse.Namespace) -> None:
    await {"list": _list, "rotate": _rotate}[args.verb](args)


async def _list(args: argparse.Namespace) -> None:
    found = await _keys(args)
    if args.json:
        print_json(found)
    else:
        rows = [(k["kid"], k["alg"], k["state"], k["signs_from"], k["gone_at"] or "") for k in found]
        print_table(rows, ("KID", "ALG", "STATE", "SIGNS_FROM", "GONE_AT"))


async def _rotate(args: argparse.Namespace) -> None:
    from garrison.authserver.keys import rotate_keys
    from garrison.base.events import Event, Kind, emit, new_correlation_id
    from garrison.home import Home

    secret = Home(args.home).read_secret()
    async with opened(args) as (store, events):
        reason = "compromised" if args.compromised else ""
        told = Event(kind=Kind.KEYS_ROTATED, correlation_id=new_correlation_id(), target="signing keys", reason=reason)
        await emit(events, told)
        made = await rotate_keys(store, secret, time.time(), alg=args.alg, compromised=args.compromised)
    if args.json:
        print_json({"kid": made.key.kid, "alg": made.key.alg, "signs_from": when(made.signs_from)})
        return
    print(f"kid         {made.key.kid}")
    print(f"signs_from  {when(made.signs_from)}")
    if args.compromised:
        note("running servers take it up within half a minute; resources that cache keys, within five minutes more")
    else:
        note("running servers publish it within half a minute; nothing more is to be done")


async def _keys(args: argparse.Namespace) -> list[dict[str, Any]]:
    from garrison.authserver.key_schedule import gone_at, state
    from garrison.authserver.keys import list_keys
    from garrison.home import Home

    secret = Home(args.home).read_secret()
    async with opened(args) as (store, _):
        keys = await list_keys(store, secret)
    return [
        {
            "kid": each.key.kid,
            "alg": each.key.alg,
            "state": state(keys, each, time.time()),
            "signs_from": when(each.signs_from),
            "gone_at": None if gone_at(keys, each) == float("inf") else when(gone_at(keys, each)),
        }
        for each in keys
    ]
