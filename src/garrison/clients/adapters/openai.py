"""OpenAI's chat completions, and every server that speaks them (base_url)."""

from typing import Any, cast

import openai
from openai.types.chat import ChatCompletionMessageFunctionToolCall

from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.session import Session
from garrison.clients.toolbox import NO_KEY, Offered, OnCall, Toolbox

DEFAULT_MODEL = "gpt-5.4-mini"


async def run(
    session: Session,
    question: str,
    *,
    model: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    max_turns: int = 8,
    on_call: OnCall | None = None,
) -> Answer:
    toolbox = Toolbox(session, await session.tools(), on_call)
    tools = [_tool(offered) for offered in toolbox.offered]
    messages: list[Any] = [{"role": "user", "content": question}]
    async with openai.AsyncOpenAI(
        api_key=api_key or NO_KEY, base_url=base_url or "https://api.openai.com/v1"
    ) as client:
        for _ in range(max_turns):
            try:
                completion = await client.chat.completions.create(
                    model=model or DEFAULT_MODEL, messages=messages, tools=cast("Any", tools) or openai.omit
                )
            except openai.OpenAIError as error:
                raise ModelFailed("OpenAI", error) from error
            message = completion.choices[0].message
            asked = [
                call for call in message.tool_calls or [] if isinstance(call, ChatCompletionMessageFunctionToolCall)
            ]
            if not asked:
                return Answer(message.content or "", toolbox.calls)
            messages.append(message.model_dump(exclude_none=True))
            done = await toolbox.use_all([(call.function.name, call.function.arguments) for call in asked])
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": result.text}
                for call, result in zip(asked, done, strict=True)
            ]
    raise TooManyTurns(max_turns, toolbox.calls)


def _tool(offered: Offered) -> dict[str, Any]:
    function = {"name": offered.name, "description": offered.description, "parameters": offered.schema}
    return {"type": "function", "function": function}
