"""What several commands share: the state folder, `--json`, printing."""

import argparse
import json
import os
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
MAX_PORT = 65_535
MAX_COUNT = 1_000_000


def add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--home",
        type=Path,
        action=_Named,
        default=Path(os.environ.get("GARRISON_HOME", ".garrison")),
        metavar="DIR",
        help="the state folder (default: $GARRISON_HOME, else .garrison)",
    )
    parser.set_defaults(home_named="GARRISON_HOME" in os.environ)


class _Named(argparse.Action):
    """Remembers that the user named the folder: what merely lies in the current one is trusted less."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - the base class's signature
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,  # noqa: ARG002
    ) -> None:
        namespace.home, namespace.home_named = values, True


def port(text: str) -> int:
    """A TCP port, for argparse. Raises `ValueError`."""
    number = int(text)
    if not 1 <= number <= MAX_PORT:
        raise ValueError(text)
    return number


def count(text: str) -> int:
    """How many, for argparse: from 1 to a million. Raises `ValueError`."""
    number = int(text)
    if not 1 <= number <= MAX_COUNT:
        raise ValueError(text)
    return number


def scopes(text: str) -> frozenset[str]:
    """What stands after `--scope`. Raises `UsageError`."""
    from garrison.base.errors import UsageError
    from garrison.oauth import scope
    from garrison.oauth.errors import InvalidScope

    try:
        return scope.parse(text)
    except InvalidScope as error:
        raise UsageError(f"--scope: {error.description}") from error


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, default=str)  # ASCII: what came from a server moves no cursor
    sys.stdout.write("\n")


def print_table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> None:
    """Columns side by side, headings first; plain text that other programs can cut, each row on its line."""
    from garrison.base.events import one_line

    table = [[one_line(str(cell)) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def shown(text: str) -> str:
    """Text of somebody else's for the terminal: its lines, each without what could move the cursor."""
    from garrison.base.events import one_line

    return "\n".join(one_line(line) for line in text.splitlines())


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on uvloop where it is installed, else on asyncio's own loop."""
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def note(text: str) -> None:
    """Say something to the person at the terminal, beside the output; a server's words in it move no cursor."""
    from garrison.clients.display import plain

    print(plain(text), file=sys.stderr)


def quiet_libraries() -> None:
    """Keep the libraries' log, which speaks to programmers, away from a person's terminal; LOG_LEVEL brings it back."""
    import logging

    if level := os.environ.get("LOG_LEVEL"):
        log_to_stderr(level.upper())
    else:
        logging.basicConfig(handlers=[logging.NullHandler()])


def log_to_stderr(level: str) -> None:
    """Let the libraries' log go to standard error. Raises `UsageError` for a level that is none."""
    import logging

    from garrison.base.errors import UsageError

    if level not in logging.getLevelNamesMapping():
        raise UsageError(f"LOG_LEVEL is {level!r}", "It can be DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if level not in {"DEBUG", "INFO"}:
        # It calls every tool error an error of the server; what callers do is in the events.
        logging.getLogger("fastmcp").setLevel(logging.CRITICAL)
