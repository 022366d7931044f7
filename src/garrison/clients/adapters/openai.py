"""OpenAI's chat completions, and every server that speaks them (base_url)."""

from typing import Any, Unpack, cast

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion

from garrison.clients.answer import Answer
from garrison.clients.chat_completions import converse
from garrison.clients.errors import ModelFailed
from garrison.clients.question import Options, asked
from garrison.clients.toolbox import OnText, Sessions

DEFAULT_MODEL = "gpt-5.4-mini"
_ADDRESS = "https://api.openai.com/v1"


async def run(session: Sessions, question: str, **options: Unpack[Options]) -> Answer:
    asking = await asked(session, question, DEFAULT_MODEL, **options)
    async with openai.AsyncOpenAI(api_key=asking.api_key, base_url=asking.base_url or _ADDRESS) as client:

        async def complete(request: dict[str, Any]) -> ChatCompletion:
            try:
                return await _complete(client, request, asking.on_text)
            except openai.OpenAIError as error:
                raise ModelFailed("OpenAI", error) from error

        return await converse(asking, complete, asking.model)


async def _complete(client: openai.AsyncOpenAI, request: dict[str, Any], on_text: OnText | None) -> ChatCompletion:
    """One turn of the model, whose text is told as it comes."""
    completions: Any = client.chat.completions  # its overloads want each argument by itself
    if on_text is None:
        return cast("ChatCompletion", await completions.create(**request))
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    stream = await completions.create(**request, stream=True, stream_options={"include_usage": True})
    async for chunk in stream:
        state.handle_chunk(chunk)
        for choice in chunk.choices:
            if choice.delta.content:
                on_text(choice.delta.content)
    return state.get_final_completion()
