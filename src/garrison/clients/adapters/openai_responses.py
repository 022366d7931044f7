"""OpenAI's responses. Nothing is kept at the provider (`store`): each turn sends the whole conversation."""

from typing import Any, Unpack

import openai
from openai.types.responses import Response, ResponseFunctionToolCall

from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed
from garrison.clients.question import Options, asked
from garrison.clients.toolbox import Offered, OnText, Sessions

DEFAULT_MODEL = "gpt-5.4-mini"
_ADDRESS = "https://api.openai.com/v1"
_REASONING = "reasoning.encrypted_content"
"""What a reasoning model needs back in the next turn where the provider keeps nothing."""


async def run(session: Sessions, question: str, **options: Unpack[Options]) -> Answer:
    asking = await asked(session, question, DEFAULT_MODEL, **options)
    tools = [_tool(offered) for offered in asking.toolbox.offered]
    conversation: list[Any] = [*asking.before, {"role": "user", "content": question}]
    async with openai.AsyncOpenAI(api_key=asking.api_key, base_url=asking.base_url or _ADDRESS) as client:
        for _ in range(asking.max_turns):
            request = {"model": asking.model, "input": conversation, "tools": tools}
            try:
                response = await _respond(client, request, asking.on_text)
            except openai.OpenAIError as error:
                raise ModelFailed("OpenAI", error) from error
            if response.usage:
                asking.toolbox.count(response.usage.input_tokens, response.usage.output_tokens)
            conversation += [item.model_dump(mode="json", exclude_none=True) for item in response.output]
            calls = [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]
            if not calls:
                return asking.answer(response.output_text, conversation)
            done = await asking.toolbox.use_all([(call.name, call.arguments) for call in calls])
            conversation += [
                {"type": "function_call_output", "call_id": call.call_id, "output": result.text}
                for call, result in zip(calls, done, strict=True)
            ]
    raise asking.unanswered()


async def _respond(client: openai.AsyncOpenAI, request: dict[str, Any], on_text: OnText | None) -> Response:
    """One turn of the model, whose text is told as it comes."""
    responses: Any = client.responses  # its overloads want each argument by itself
    request = {**request, "store": False, "include": [_REASONING]}
    if on_text is None:
        return _whole(await responses.create(**request))
    async for event in await responses.create(**request, stream=True):
        if event.type == "response.output_text.delta":
            on_text(event.delta)
        elif event.type in {"response.completed", "response.incomplete", "response.failed"}:
            return _whole(event.response)
        elif event.type == "error":
            raise openai.OpenAIError(event.message)
    raise openai.OpenAIError("the stream ended before the response did")


def _whole(response: Response) -> Response:
    """`response`, unless it failed: that comes with HTTP status 200. Raises `openai.OpenAIError`."""
    if response.status == "failed":
        raise openai.OpenAIError(response.error.message if response.error else "the response failed")
    return response


def _tool(offered: Offered) -> dict[str, Any]:
    return {"type": "function", **offered.function(), "strict": False}
