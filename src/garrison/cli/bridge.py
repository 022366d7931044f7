"""`garrison bridge URL`, `garrison bridge install|uninstall|list`, `garrison bridge bundle URL`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

from garrison.cli._common import add_json, run_async
from garrison.cli._connection import add_connection_arguments, connection, server_url

ACTIONS = ("install", "uninstall", "list", "bundle")
CLIENTS = ("claude-desktop", "claude-code", "cursor", "vscode")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="*",
        metavar="[install|uninstall|list|bundle] URL",
        help="serve URL on stdio (default: $MCP_SERVER_URL), or change which programs start that",
    )
    add_connection_arguments(parser)
    add_json(parser)
    parser.add_argument(
        "--client", choices=CLIENTS, help="install, uninstall, list: the program (default: claude-desktop; list: all)"
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="… and its list, where it isn't the usual one")
    parser.add_argument("--name", help="install, uninstall, bundle: what the program calls it (default: the host)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="bundle: where to write it")


def run(args: argparse.Namespace) -> int:
    from garrison.base.errors import UsageError

    action = args.words.pop(0) if args.words and args.words[0] in ACTIONS else ""
    args.url = args.words.pop(0) if args.words else None
    if args.words:
        raise UsageError(f"{args.words[0]!r} is one word too many", "See: garrison bridge --help")
    if action:
        from garrison.cli import _bridge_install

        return int(getattr(_bridge_install, action.replace("list", "show"))(args) or 0)
    wire = take_wire()
    run_async(_bridge(args, wire))
    return 0


def take_wire() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, for MCP alone, whatever language it is that reads or writes there besides.

    From now on what is printed goes to standard error, and who reads (a browser that is started) finds nothing. Before
    anything large is imported: some libraries print when they are.
    """
    sys.stdout.flush()
    incoming, outgoing = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # there is no standard error
        os.dup2(nowhere, 1)
    os.close(nowhere)
    return os.fdopen(incoming, "rb", buffering=0), os.fdopen(outgoing, "wb")


async def _bridge(args: argparse.Namespace, wire: tuple[BinaryIO, BinaryIO]) -> None:
    from garrison.base.errors import GarrisonError, UsageError
    from garrison.cli._bridge_state import can_keep, log, prepare
    from garrison.clients.bridge import bridge
    from garrison.config.clients import client_settings

    url = server_url(args)
    prepare(args.home, url, os.environ.get("LOG_LEVEL"))
    known: dict[str, Any] = {}

    async def found() -> dict[str, Any]:
        if not known:
            known.update((await connection(args, url)).options())
            if known["storage"] and not can_keep(client_settings(os.environ).logins):
                known["storage"] = None
        return known

    try:
        await found()
    except UsageError as error:
        log.error("%s. %s", error.message, error.hint)
        raise
    except GarrisonError as error:  # a server that is away may be back when the first request comes
        log.warning("%s. %s", error.message, error.hint)
    await bridge(url, wire=wire, found=found)
