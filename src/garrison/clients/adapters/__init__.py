"""One file a model library, each with the same `run`; none imports another, and any may be missing."""

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, Unpack, cast

from garrison.base.errors import UsageError
from garrison.clients.answer import Answer
from garrison.clients.question import Options
from garrison.clients.toolbox import Sessions

ADAPTERS: Mapping[str, str] = {
    name: f"garrison.clients.adapters.{name.replace('-', '_')}"
    for name in ("openai", "openai-responses", "anthropic", "langchain", "dspy", "litellm")
}


class Adapter(Protocol):
    """What each module of this folder offers."""

    DEFAULT_MODEL: str

    async def run(self, session: Sessions, question: str, **options: Unpack[Options]) -> Answer:
        """Asks a model `question` and lets it use the session's tools until it answers.

        Args:
            session: the MCP session, or several: then the model sees all their tools.
            question: the user's words.
            model: the provider's name for it; by default `DEFAULT_MODEL`.
            base_url: another endpoint than the provider's, with `/v1`.
            api_key: the provider's key; it is not read from the environment.
            max_turns: answers of the model, at most.
            on_call: told of each call when it is done.
            approve: asked before each call; whatever it doesn't approve is not made, and the model is told so.
            on_text: told of the model's text, piece by piece where the library streams it.
            history: the conversation that the question belongs to, as a list that begins empty and is only handed from
                question to question of one adapter. Each answered question changes it.

        Raises:
            TooManyTurns: the model didn't come to an end.
            ModelFailed: the provider didn't answer as it should.
        """


def load(name: str) -> Adapter:
    """The module of an adapter.

    Raises:
        UsageError: there is no such adapter, or its library isn't installed.
    """
    if name not in ADAPTERS:
        raise UsageError(f"there is no adapter {name!r}", f"The adapters are: {', '.join(ADAPTERS)}.")
    try:
        module: Any = importlib.import_module(ADAPTERS[name])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("garrison"):
            raise
        raise UsageError(
            f"the {name} adapter needs a library that isn't installed ({error.name})",
            f"pip install 'garrison[{name.partition('-')[0]}]'",
        ) from error
    return cast("Adapter", module)
