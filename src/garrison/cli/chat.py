"""`garrison chat --with X URL ["question"]`: one question, the demonstration's three, or a conversation."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from garrison.cli._common import add_json, count, print_json
from garrison.cli._connection import add_connection_arguments, connected

if TYPE_CHECKING:
    from garrison.cli._screen import Screen
    from garrison.cli._turns import Turns
    from garrison.clients.answer import Answer, Call
    from garrison.clients.question import Options

ADAPTERS = ("openai", "openai-responses", "anthropic", "langchain", "dspy", "litellm")
_GOODBYE = frozenset({"exit", "quit"})
_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--with", dest="adapter", choices=ADAPTERS, default="openai", help="default: openai")
    parser.add_argument("--model", metavar="M", help="default: the provider's variable, such as $OPENAI_MODEL")
    parser.add_argument("url", nargs="?", metavar="URL", help="the MCP server (default: $MCP_SERVER_URL)")
    parser.add_argument("question", nargs="?", help="what to ask (default: a conversation; from a pipe, line by line)")
    parser.add_argument("--demo", action="store_true", help="ask the three questions of the demonstration")
    parser.add_argument("--approve", action="store_true", help="ask you before each call of a tool")
    parser.add_argument(
        "--max-turns", type=count, default=8, metavar="N", help="turns a question may take (default: 8)"
    )
    add_connection_arguments(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from garrison.base.errors import UsageError
    from garrison.clients.adapters import load
    from garrison.config.models import model_settings

    said = model_settings(args.adapter, os.environ)
    options: Options = {
        "model": args.model or said.model,
        "base_url": said.base_url,
        "api_key": said.api_key,
        "max_turns": args.max_turns,
    }
    if args.approve and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("--approve asks you, and there is no terminal to ask at", "Leave it out in a script.")
    adapter = load(args.adapter)

    from garrison.cli._screen import Screen
    from garrison.cli._turns import Turns, event_loop

    talk, screen = Talk(args), Screen(quiet=args.json)
    talk.prepare()
    with event_loop() as portal, portal.wrap_async_context_manager(connected(args)) as session:
        turns = Turns(portal, session, adapter, options, screen, ask_first=args.approve)
        if talk.by_hand:
            screen.note(f"{session.name}: Ctrl-C ends a turn, Ctrl-D or exit ends the chat.")
        try:
            return talk.hold(turns, screen)
        except KeyboardInterrupt:  # caught here: the session is left in good order
            return _INTERRUPTED
        finally:
            talk.end(screen)


class Talk:
    """The questions of one chat, from the command line, from a pipe or from a person, and their answers."""

    def __init__(self, args: argparse.Namespace) -> None:
        from garrison.clients.answer import Usage
        from garrison.demo.questions import QUESTIONS

        given = [*([args.question] if args.question else []), *(QUESTIONS if args.demo else [])]
        self._json = args.json
        self.by_hand = not given and sys.stdin.isatty()
        self._questions = iter(given) if given else typed() if self.by_hand else piped()
        self._answers: list[tuple[str, Answer]] = []
        self._usage = Usage()

    def prepare(self) -> None:
        """Raises `UsageError` where nobody asks anything, before a server is bothered."""
        from garrison.base.errors import UsageError

        if self.by_hand:
            return
        first = next(self._questions, None)
        if first is None:
            raise UsageError("what is the question?", "Give it behind the URL, in quotes, or say --demo.")
        self._questions = chain([first], self._questions)

    def hold(self, turns: "Turns", screen: "Screen") -> int:
        """Ask and answer until there are no more questions. Raises `GarrisonError`, `KeyboardInterrupt`."""
        for question in self._questions:
            if not self.by_hand:
                screen.note(f"question: {question}", "bold")
            try:
                self._ask(question, turns, screen)
            except KeyboardInterrupt:
                if not self.by_hand:
                    raise
                screen.note("\nended. Calls that were made stay made.")
        return 0

    def _ask(self, question: str, turns: "Turns", screen: "Screen") -> None:
        from garrison.base.errors import GarrisonError

        try:
            answer = turns.ask(question)
        except GarrisonError as error:
            if not self.by_hand:
                raise
            screen.note(f"{error.message}\n{error.hint}".rstrip(), "red")
            return
        if not screen.streams:
            screen.answer(answer.text)
        self._answers.append((question, answer))
        self._usage = self._usage.plus(answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cost)

    def end(self, screen: "Screen") -> None:
        """Say what it took."""
        screen.total(sum(len(answer.calls) for _, answer in self._answers), self._usage)
        if self._json:
            print_json([_plain(question, answer) for question, answer in self._answers])


def typed() -> Iterator[str]:
    """What a person types, line by line, until Ctrl-D or `exit`; Ctrl-C throws the line away."""
    with suppress(ImportError):
        import readline  # noqa: F401 - gives `input` its keys
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            sys.stdout.write("\n")
            return
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            continue
        if line in _GOODBYE:
            return
        if line:
            yield line


def piped() -> Iterator[str]:
    """The lines of standard input that aren't empty."""
    return (line.strip() for line in sys.stdin if line.strip())


def _plain(question: str, answer: "Answer") -> dict[str, object]:
    usage = {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens}
    return {
        "question": question,
        "answer": answer.text,
        "calls": [_plain_call(call) for call in answer.calls],
        "usage": {**usage, "cost": answer.usage.cost},
    }


def _plain_call(call: "Call") -> dict[str, object]:
    return {
        "tool": call.name,
        "arguments": dict(call.arguments),
        "result": call.structured or call.text,
        "is_error": call.is_error,
    }
