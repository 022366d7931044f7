"""`garrison events list|tail`."""

import argparse
from typing import TYPE_CHECKING

from garrison.cli._common import add_home, add_json, count, run_async

if TYPE_CHECKING:
    from garrison.base.events import Event, Kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="list|tail", required=True)
    listing = verbs.add_parser("list", help="the latest events, newest last", allow_abbrev=False)
    listing.add_argument("--limit", type=count, default=50, metavar="N", help="how many (default: 50)")
    tail = verbs.add_parser("tail", help="events as they happen, until Ctrl-C", allow_abbrev=False)
    for verb in (listing, tail):
        verb.add_argument("--kind", action="append", metavar="KIND", help="only these, such as call.denied; repeatable")
        add_home(verb)
        add_json(verb)


def run(args: argparse.Namespace) -> int:
    run_async(_list(args) if args.verb == "list" else _tail(args))
    return 0


async def _list(args: argparse.Namespace) -> None:
    from garrison.base.errors import UsageError
    from garrison.home import Home
    from garrison.monitor.store import EventStore

    home = Home(args.home)
    if not home.events.exists():
        raise UsageError(f"{home.events} is not there", "Events are written while the servers run: garrison up")
    async with EventStore(home.events) as store:
        for event in await store.recent(args.limit, kinds=_kinds(args)):
            _print(args, event)


async def _tail(args: argparse.Namespace) -> None:
    from garrison.home import Home
    from garrison.monitor.store import EventStore

    async with EventStore(Home(args.home).events) as store:
        async for event in store.tail(kinds=_kinds(args)):
            _print(args, event)


def _print(args: argparse.Namespace, event: "Event") -> None:
    from garrison.monitor.render import as_human_line, as_json_line

    print((as_json_line if args.json else as_human_line)(event), flush=True)


def _kinds(args: argparse.Namespace) -> "frozenset[Kind] | None":
    from garrison.base.errors import UsageError
    from garrison.base.events import Kind

    if not args.kind:
        return None
    known = {kind.value for kind in Kind}
    if unknown := [kind for kind in args.kind if kind not in known]:
        raise UsageError(f"there are no events of kind {unknown[0]!r}", f"Known: {', '.join(sorted(known))}")
    return frozenset(Kind(kind) for kind in args.kind)
