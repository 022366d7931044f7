"""`garrison demo` and `garrison demo serve`."""

import argparse
import os
import shutil
import signal
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from garrison.cli._common import add_home, add_json, note, print_json, run_async
from garrison.cli._serve import add_serve_arguments, serve_alone

if TYPE_CHECKING:
    from garrison.demo.walk import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="leave the servers running afterwards, until Ctrl-C")
    add_json(parser)
    parts = parser.add_subparsers(dest="part", metavar="serve")
    serve = parts.add_parser("serve", help="run only the guarded customer-service server", allow_abbrev=False)
    add_home(serve)
    add_serve_arguments(serve, default_port=8000)
    serve.add_argument("--resource", required=True, metavar="URI", help="the MCP server's public address, with /mcp")
    serve.add_argument(
        "--connect-to",
        action="append",
        default=[],
        metavar="HOST:PORT=HOST:PORT",
        help="reach the issuer at another address, as in a container network; TLS still checks its name",
    )


def run(args: argparse.Namespace) -> int:
    if args.part == "serve":
        return _serve(args)
    for ending in (signal.SIGTERM, signal.SIGHUP):  # or else the folder, with its keys, would stay
        signal.signal(ending, _as_interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs are born deaf to
    folder = Path(tempfile.mkdtemp(prefix="garrison-demo-"))
    try:
        return run_async(_walk(args, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_interrupt(_number: int, _frame: object) -> None:
    """Ends like Ctrl-C, by cancelling: an exception raised just anywhere could end in code that drops it."""
    signal.raise_signal(signal.SIGINT)


async def _walk(args: argparse.Namespace, folder: Path) -> int:
    from garrison.cli import _report
    from garrison.demo.walk import prepared, staged, walk
    from garrison.home import Home
    from garrison.serving import until_interrupted

    home = Home(folder)
    reporter = _report.quiet() if args.json else _report.talkative()
    outcomes = await prepared(home, os.environ, reporter)
    if outcomes[0].passed:
        async with staged(home, os.environ, reporter) as scene:
            outcomes += await walk(scene, reporter)
            _print(args, outcomes)
            if args.keep:
                note(f"running: {scene.at.issuer} and {scene.at.resource}, state in {folder}; Ctrl-C ends it")
                await until_interrupted()
    else:
        _print(args, outcomes)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _print(args: argparse.Namespace, outcomes: "list[Outcome]") -> None:
    from garrison.cli import _report

    if args.json:
        print_json(
            {
                "passed": all(outcome.passed for outcome in outcomes),
                "seconds": round(sum(outcome.seconds for outcome in outcomes), 2),
                "steps": [asdict(outcome) for outcome in outcomes],
            }
        )
    else:
        _report.table(outcomes)


def _serve(args: argparse.Namespace) -> int:
    from garrison.base.errors import UsageError
    from garrison.config.server import server_settings
    from garrison.demo.system import guarded_server
    from garrison.home import Home

    home = Home(args.home)
    pairs = [pair.partition("=") for pair in args.connect_to]
    if not all(from_ and to for from_, _, to in pairs):
        raise UsageError("--connect-to takes HOST:PORT=HOST:PORT")
    connect_to = {from_: to for from_, _, to in pairs}
    settings = server_settings(home.folder, os.environ)
    return serve_alone(
        args,
        "MCP server",
        lambda events: guarded_server(home, settings, args.issuer, args.resource, events, connect_to),
    )
