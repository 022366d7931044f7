"""What a chat shows: calls and results in colour on a terminal and in plain lines elsewhere, the answer as it comes.

The answer goes to standard output and all else to standard error, so that a pipe gets the answer alone. Whatever a
model or a server said is somebody else's text, and cleaned of what could steer the terminal.
"""

import json
import sys

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from garrison.base.events import one_line
from garrison.clients.answer import Call, Usage
from garrison.clients.display import display, labelled, plain

_TELLING = {"urgent": "red", "high": "yellow", "gold": "yellow", "silver": "cyan", "active": "green"}
"""Values of the demonstration's tools that stand out."""


class Screen:
    """Where one chat is shown; `quiet` for a program that reads JSON."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.streams = not quiet and sys.stdout.isatty()
        self._open_line = False

    def note(self, text: str, style: str = "dim") -> None:
        """A line beside the conversation."""
        self._close_line()
        if not self._quiet:
            self._console.print(Text(plain(text), style), soft_wrap=True)

    def text(self, piece: str) -> None:
        """A piece of what the model says."""
        if piece:
            sys.stdout.write(plain(piece))
            sys.stdout.flush()
            self._open_line = not piece.endswith("\n")

    def answer(self, text: str) -> None:
        """The answer, where it was not shown as it came."""
        if not self._quiet:
            self.text(f"{text}\n")

    def end(self) -> None:
        self._close_line()

    def call(self, call: Call) -> None:
        """A call that is about to be made."""
        self.note(_written(call), "cyan")

    def result(self, call: Call) -> None:
        """What came of it."""
        if call.is_error:
            self.note(f"{call.name}: {call.text}", "red")
            return
        found = call.structured or call.text
        lines = labelled(call.name, found)
        if lines is None or not self._console.is_terminal:
            self.note(display(call.name, found), "")
        elif not self._quiet:
            self._close_line()
            self._console.print(Panel(_table(lines), title=one_line(call.name), title_align="left", expand=False))

    def allows(self, call: Call) -> bool:
        """Whether the person says yes to `call`. Raises `KeyboardInterrupt`."""
        self._close_line()
        self._console.print(Text(f"Allow {_written(call)}? [y/N] ", "bold"), end="")
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def total(self, calls: int, usage: Usage) -> None:
        cost = "" if usage.cost is None else f", ${usage.cost:.4f}"
        made = "1 call" if calls == 1 else f"{calls} calls"
        self.note(f"{made}; {usage.input_tokens} tokens in, {usage.output_tokens} out{cost}")

    def _close_line(self) -> None:
        if self._open_line:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._open_line = False


def _written(call: Call) -> str:
    """`call` as a person reads it, with all that it is about: nobody can approve of what was cut away."""
    arguments = ", ".join(f"{name}={json.dumps(value, default=str)}" for name, value in call.arguments.items())
    return plain(f"{call.name}({arguments})")


def _table(lines: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    for label, value in lines:
        grid.add_row(Text(label), Text(value, _TELLING.get(value.lower(), "")))
    return grid
