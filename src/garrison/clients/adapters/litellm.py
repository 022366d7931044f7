"""LiteLLM, which speaks to a hundred providers: the model's name says which (`openai/…`, `anthropic/…`, `ollama/…`)."""

import os
from typing import Any, Unpack

# Read by litellm when it is imported: without it, it fetches a price list from the network, three times over.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

from garrison.clients.answer import Answer
from garrison.clients.chat_completions import converse
from garrison.clients.errors import ModelFailed
from garrison.clients.question import Options, asked
from garrison.clients.toolbox import OnText, Sessions

DEFAULT_MODEL = "openai/gpt-5.4-mini"

litellm.telemetry = False
litellm.suppress_debug_info = True  # it prints help texts to standard output otherwise


async def run(session: Sessions, question: str, **options: Unpack[Options]) -> Answer:
    asking = await asked(session, question, DEFAULT_MODEL, **options)

    async def complete(request: dict[str, Any]) -> Any:
        try:
            return await _complete({**request, "api_base": asking.base_url, "api_key": asking.api_key}, asking.on_text)
        except Exception as error:
            raise ModelFailed("the model", error) from error

    return await converse(asking, complete, qualified(asking.model), _cost)


async def _complete(request: dict[str, Any], on_text: OnText | None) -> Any:
    """One turn of the model, whose text is told as it comes."""
    if on_text is None:
        return await litellm.acompletion(**request)
    stream: Any = await litellm.acompletion(**request, stream=True, stream_options={"include_usage": True})
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
        if chunk.choices and chunk.choices[0].delta.content:
            on_text(chunk.choices[0].delta.content)
    return litellm.stream_chunk_builder(chunks, messages=request["messages"])


def _cost(completion: Any) -> float | None:
    """US dollars, by the price list that comes with the library; None for a model that isn't in it."""
    try:
        return float(litellm.completion_cost(completion))
    except Exception:  # noqa: BLE001 - the library raises plain Exception for an unknown price
        return None


def qualified(model: str) -> str:
    """`model` with its provider: a bare name is taken as one of a server that speaks OpenAI's protocol."""
    return model if "/" in model else f"openai/{model}"
