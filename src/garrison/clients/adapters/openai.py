"""OpenAI's chat completions, and every server that speaks them (base_url)."""

from typing import Any, cast

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionMessageFunctionToolCall

from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.toolbox import NO_KEY, Approve, Offered, OnCall, OnText, Sessions, open_toolbox

DEFAULT_MODEL = "gpt-5.4-mini"


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
    messages: list[Any] = [{"role": "user", "content": question}]
    async with openai.AsyncOpenAI(
        api_key=api_key or NO_KEY, base_url=base_url or "https://api.openai.com/v1"
    ) as client:
        for _ in range(max_turns):
            try:
                request = {"model": model or DEFAULT_MODEL, "messages": messages, "tools": tools or openai.omit}
                completion = await _complete(client, request, on_text)
            except openai.OpenAIError as error:
                raise ModelFailed("OpenAI", error) from error
            if completion.usage:
                toolbox.count(completion.usage.prompt_tokens, completion.usage.completion_tokens)
            message = completion.choices[0].message
            asked = [
                call for call in message.tool_calls or [] if isinstance(call, ChatCompletionMessageFunctionToolCall)
            ]
            if not asked:
                return toolbox.answer(message.content or "")
            messages.append(message.model_dump(exclude_none=True))
            done = await toolbox.use_all([(call.function.name, call.function.arguments) for call in asked])
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": result.text}
                for call, result in zip(asked, done, strict=True)
            ]
    raise TooManyTurns(max_turns, toolbox.calls)


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


def _tool(offered: Offered) -> dict[str, Any]:
    function = {"name": offered.name, "description": offered.description, "parameters": offered.schema}
    return {"type": "function", "function": function}
