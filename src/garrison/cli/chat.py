"""`garrison chat --with X URL "question"`."""

import argparse
import os
from typing import TYPE_CHECKING

from garrison.cli._common import add_json, note, print_json, run_async, shown
from garrison.cli._connection import add_connection_arguments, connected

if TYPE_CHECKING:
    from garrison.clients.answer import Call

ADAPTERS = ("openai", "openai-responses", "anthropic", "langchain", "dspy", "litellm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--with", dest="adapter", choices=ADAPTERS, default="openai", help="default: openai")
    parser.add_argument("--model", metavar="M", help="default: the provider's variable, such as $OPENAI_MODEL")
    parser.add_argument("url", nargs="?", metavar="URL", help="the MCP server (default: $MCP_SERVER_URL)")
    parser.add_argument("question", nargs="?", help="what to ask")
    parser.add_argument("--demo", action="store_true", help="ask the three questions of the demonstration")
    parser.add_argument("--max-turns", type=int, default=8, metavar="N", help="turns a question may take (default: 8)")
    add_connection_arguments(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    return run_async(_chat(args))


async def _chat(args: argparse.Namespace) -> int:
    from garrison.base.errors import UsageError
    from garrison.clients.adapters import load
    from garrison.config import model_settings

    questions = _questions(args)
    if not questions:
        raise UsageError("what is the question?", "Give it behind the URL, in quotes, or say --demo.")
    model = model_settings(args.adapter, os.environ)
    ask = load(args.adapter).run
    answers = []
    async with connected(args) as session:
        for question in questions:
            if not args.json:
                note(f"question: {question}")
            answer = await ask(
                session,
                question,
                model=args.model or model.model,
                base_url=model.base_url,
                api_key=model.api_key,
                max_turns=args.max_turns,
                on_call=None if args.json else _show,
            )
            answers.append(
                {"question": question, "answer": answer.text, "calls": [_plain(call) for call in answer.calls]}
            )
            if not args.json:
                print(shown(answer.text))
    if args.json:
        print_json(answers)
    return 0


def _questions(args: argparse.Namespace) -> list[str]:
    from garrison.demo.questions import QUESTIONS

    return [*([args.question] if args.question else []), *(list(QUESTIONS) if args.demo else [])]


def _show(call: "Call") -> None:
    from garrison.clients.display import display

    note(display(call.name, call.structured or call.text))


def _plain(call: "Call") -> dict[str, object]:
    return {
        "tool": call.name,
        "arguments": dict(call.arguments),
        "result": call.structured or call.text,
        "is_error": call.is_error,
    }
