"""What the parts of `garrison auth` share: the database, the events, and how a removal is told."""

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from garrison.cli._common import add_home, add_json, print_json

if TYPE_CHECKING:
    from garrison.authserver.stores.store import Store
    from garrison.monitor.store import EventStore


def add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str, *positional: str
) -> argparse.ArgumentParser:
    """One verb with the options that all have."""
    verb = verbs.add_parser(name, help=text, allow_abbrev=False)
    for argument in positional:
        verb.add_argument(argument.lower(), metavar=argument)
    add_home(verb)
    add_json(verb)
    return verb


def database_url(home: Path) -> str:
    from garrison.config.server import server_settings
    from garrison.home import Home

    return Home(home).auth_database_url(server_settings(home, os.environ).auth_database_url)


@asynccontextmanager
async def opened(args: argparse.Namespace) -> "AsyncIterator[tuple[Store, EventStore]]":
    """The authorization server's database and the event store of `--home`; both are made if they are missing."""
    from garrison.authserver.admin import open_store
    from garrison.base.files import make_private_folder
    from garrison.home import Home
    from garrison.monitor.store import EventStore

    home = Home(args.home)
    make_private_folder(home.folder)
    async with EventStore(home.events) as events, open_store(database_url(home.folder)) as store:
        yield store, events


def told(args: argparse.Namespace, done: str, kind: str, name: str) -> None:
    """Say that `name` was removed, disabled, …"""
    if args.json:
        print_json({done: True, kind: name})
    else:
        print(f"{done} {name}")


def when(time: float) -> str:
    """A time for people, in UTC."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
