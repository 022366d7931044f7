"""Anthropic's messages.

The library's own tool runner is not used: it is beta, runs the calls of one turn one after the other, and tells the
model the exception of a tool that raised. The loop below is as long as an adapter to the runner would be.
"""

from typing import Any, cast

import anthropic
from anthropic.types import Message, TextBlock, ToolUseBlock

from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.toolbox import NO_KEY, Approve, Offered, OnCall, OnText, Sessions, open_toolbox

DEFAULT_MODEL = "claude-sonnet-5"
MAX_TOKENS = 4096


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
    # The library adds /v1 itself; an address that is meant for all adapters has it already.
    address = (base_url or "https://api.anthropic.com").rstrip("/").removesuffix("/v1")
    async with anthropic.AsyncAnthropic(api_key=api_key or NO_KEY, base_url=address) as client:
        for _ in range(max_turns):
            try:
                request = {"model": model or DEFAULT_MODEL, "messages": messages, "tools": tools}
                message = await _complete(client, request, on_text)
            except anthropic.AnthropicError as error:
                raise ModelFailed("Anthropic", error) from error
            toolbox.count(message.usage.input_tokens, message.usage.output_tokens)
            asked = [block for block in message.content if isinstance(block, ToolUseBlock)]
            if not asked:
                texts = [block.text for block in message.content if isinstance(block, TextBlock)]
                return toolbox.answer("\n".join(texts))
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


async def _complete(client: anthropic.AsyncAnthropic, request: dict[str, Any], on_text: OnText | None) -> Message:
    """One turn of the model, whose text is told as it comes."""
    messages: Any = client.messages  # its overloads want each argument by itself
    if on_text is None:
        return cast("Message", await messages.create(**request, max_tokens=MAX_TOKENS))
    async with messages.stream(**request, max_tokens=MAX_TOKENS) as stream:
        async for text in stream.text_stream:
            on_text(text)
        return cast("Message", await stream.get_final_message())


def _tool(offered: Offered) -> dict[str, Any]:
    return {"name": offered.name, "description": offered.description, "input_schema": offered.schema}
