"""One question to a model: what all adapters are told, filled in, and the conversation that the question belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from garrison.clients.answer import Answer
from garrison.clients.errors import TooManyTurns
from garrison.clients.toolbox import Approve, OnCall, OnText, Sessions, Toolbox, open_toolbox

NO_KEY = "unset"
"""Sent where no API key was given (a local model needs none); without it the libraries would search the environment."""


class Options(TypedDict, total=False):
    """The keyword arguments of every adapter's `run`; see `garrison.clients.adapters.Adapter`."""

    model: str | None
    base_url: str | None
    api_key: str | None
    max_turns: int
    on_call: OnCall | None
    approve: Approve | None
    on_text: OnText | None
    history: list[Any] | None


@dataclass(frozen=True)
class Question:
    """A question, and all that is needed to answer it.

    Attributes:
        before: the conversation so far, in the library's own words.
    """

    text: str
    toolbox: Toolbox
    model: str
    base_url: str | None
    api_key: str = field(repr=False)
    max_turns: int
    on_text: OnText | None
    before: Sequence[Any]
    _history: list[Any] | None

    def answer(self, text: str, conversation: Sequence[Any]) -> Answer:
        """The answer to give; `conversation` is what the next question's `before` is to be.

        The caller's history changes here and nowhere else: a question that was broken off was never asked.
        """
        if self._history is not None:
            self._history[:] = conversation
        return self.toolbox.answer(text)

    def unanswered(self) -> TooManyTurns:
        return TooManyTurns(self.max_turns, self.toolbox.calls)


async def asked(
    session: Sessions,
    text: str,
    default_model: str,
    *,
    model: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    max_turns: int = 8,
    on_call: OnCall | None = None,
    approve: Approve | None = None,
    on_text: OnText | None = None,
    history: list[Any] | None = None,
) -> Question:
    """The question `text`, with the tools of `session` at hand. Raises `GarrisonError` if they can't be listed."""
    toolbox = await open_toolbox(session, on_call, approve)
    return Question(
        text,
        toolbox,
        model or default_model,
        base_url,
        api_key or NO_KEY,
        max_turns,
        on_text,
        tuple(history or ()),
        history,
    )
