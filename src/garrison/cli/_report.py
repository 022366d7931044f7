"""How `garrison demo` tells a person what it does: a line a step as it goes, and one table at the end."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from garrison.base.events import one_line
from garrison.demo.walk import Outcome, Reporter


def talkative() -> Reporter:
    console = Console(highlight=False)

    def done(outcome: Outcome) -> None:
        mark = "[green]ok[/green]    " if outcome.passed else "[red]FAILED[/red]"
        console.print(f"{mark} {escape(outcome.step)} ({outcome.seconds:.1f} s)")
        console.file.flush()  # a pipe, too, is to see each step when it is done

    return Reporter(detail=lambda line: console.print(f"       {escape(one_line(line))}", style="dim"), done=done)


def quiet() -> Reporter:
    return Reporter(detail=lambda _line: None, done=lambda _outcome: None)


def table(outcomes: Sequence[Outcome]) -> None:
    console = Console(highlight=False)
    shown = Table(title="garrison demo", show_lines=False)
    shown.add_column("step")
    shown.add_column("result")
    shown.add_column("seen", overflow="fold")
    for outcome in outcomes:
        result = "[green]passed[/green]" if outcome.passed else "[red]FAILED[/red]"
        shown.add_row(escape(outcome.step), result, escape(one_line(outcome.seen)))
    console.print(shown)
    failed = sum(not outcome.passed for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    console.print(f"{len(outcomes) - failed} passed, {failed} failed, {seconds:.1f} s")
