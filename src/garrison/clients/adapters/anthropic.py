"""Anthropic's messages."""

from typing import Any, cast

import anthropic
from anthropic.types import TextBlock, ToolUseBlock

from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.session import Session
from garrison.clients.toolbox import NO_KEY, Offered, OnCall, Toolbox

DEFAULT_MODEL = "claude-sonnet-5"
MAX_TOKENS = 4096


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
    # The library adds /v1 itself; an address that is meant for all adapters has it already.
    address = (base_url or "https://api.anthropic.com").rstrip("/").removesuffix("/v1")
    async with anthropic.AsyncAnthropic(api_key=api_key or NO_KEY, base_url=address) as client:
        for _ in range(max_turns):
            try:
                message = await client.messages.create(
                    model=model or DEFAULT_MODEL, max_tokens=MAX_TOKENS, messages=messages, tools=cast("Any", tools)
                )
            except anthropic.AnthropicError as error:
                raise ModelFailed("Anthropic", error) from error
            asked = [block for block in message.content if isinstance(block, ToolUseBlock)]
            if not asked:
                texts = [block.text for block in message.content if isinstance(block, TextBlock)]
                return Answer("\n".join(texts), toolbox.calls)
            messages.append(
                {"role": "assistant", "content": [block.model_dump(mode="json") for block in message.content]}
            )
            done = await toolbox.use_all([(block.name, block.input) for block in asked])
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": result.text, "is_error": result.is_error}
                for block, result in zip(asked, done, strict=True)
            ]
            messages.append({"role": "user", "content": results})
    raise TooManyTurns(max_turns, toolbox.calls)


def _tool(offered: Offered) -> dict[str, Any]:
    return {"name": offered.name, "description": offered.description, "input_schema": offered.schema}
