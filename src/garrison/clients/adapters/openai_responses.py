"""OpenAI's responses. Nothing is kept at the provider (`store`): each turn sends the whole conversation."""

from typing import Any

import openai
from openai.types.responses import Response, ResponseFunctionToolCall

from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.toolbox import NO_KEY, Approve, Offered, OnCall, OnText, Sessions, open_toolbox

DEFAULT_MODEL = "gpt-5.4-mini"
_REASONING = "reasoning.encrypted_content"
"""What a reasoning model needs back in the next turn where the provider keeps nothing."""


async def run(
    session: Sessions,
    question: str,
    *,
    model: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    max_turns: int = 8,
    on_call: OnCall | None = None,
    approve: Approve | None = None,
    on_text: OnText | None = None,
) -> Answer:
    toolbox = await open_toolbox(session, on_call, approve)
    tools = [_tool(offered) for offered in toolbox.offered]
    conversation: list[Any] = [{"role": "user", "content": question}]
    async with openai.AsyncOpenAI(
        api_key=api_key or NO_KEY, base_url=base_url or "https://api.openai.com/v1"
    ) as client:
        for _ in range(max_turns):
            request = {"model": model or DEFAULT_MODEL, "input": conversation, "tools": tools}
            try:
                response = await _respond(client, request, on_text)
            except openai.OpenAIError as error:
                raise ModelFailed("OpenAI", error) from error
            if response.usage:
                toolbox.count(response.usage.input_tokens, response.usage.output_tokens)
            asked = [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]
            if not asked:
                return toolbox.answer(response.output_text)
            conversation += [item.model_dump(mode="json", exclude_none=True) for item in response.output]
            done = await toolbox.use_all([(call.name, call.arguments) for call in asked])
            conversation += [
                {"type": "function_call_output", "call_id": call.call_id, "output": result.text}
                for call, result in zip(asked, done, strict=True)
            ]
    raise TooManyTurns(max_turns, toolbox.calls)


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
    about = {"name": offered.name, "description": offered.description, "parameters": offered.schema}
    return {"type": "function", **about, "strict": False}
