"""Anthropic's messages; and the session's tools for the library's own tool runner, whoever prefers it.

`run` does not use that runner: it is beta, and runs the calls of one turn one after the other.
"""

from typing import Any, Unpack, cast

import anthropic
from anthropic.lib.tools import BetaAsyncFunctionTool, ToolError, beta_async_tool
from anthropic.types import Message, TextBlock, ToolUseBlock

from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed
from garrison.clients.question import Options, asked
from garrison.clients.toolbox import Approve, Offered, OnCall, OnText, Sessions, Toolbox, open_toolbox

DEFAULT_MODEL = "claude-sonnet-5"
MAX_TOKENS = 4096
_ADDRESS = "https://api.anthropic.com"


async def run(session: Sessions, question: str, **options: Unpack[Options]) -> Answer:
    asking = await asked(session, question, DEFAULT_MODEL, **options)
    tools = [_tool(offered) for offered in asking.toolbox.offered]
    messages: list[Any] = [*asking.before, {"role": "user", "content": question}]
    # The library adds /v1 itself; an address that is meant for all adapters has it already.
    address = (asking.base_url or _ADDRESS).rstrip("/").removesuffix("/v1")
    async with anthropic.AsyncAnthropic(api_key=asking.api_key, base_url=address) as client:
        for _ in range(asking.max_turns):
            request = {"model": asking.model, "messages": messages, "tools": tools}
            try:
                message = await _complete(client, request, asking.on_text)
            except anthropic.AnthropicError as error:
                raise ModelFailed("Anthropic", error) from error
            asking.toolbox.count(message.usage.input_tokens, message.usage.output_tokens)
            said = [block.model_dump(mode="json") for block in message.content]
            messages.append({"role": "assistant", "content": said})
            calls = [block for block in message.content if isinstance(block, ToolUseBlock)]
            if not calls:
                texts = [block.text for block in message.content if isinstance(block, TextBlock)]
                return asking.answer("\n".join(texts), messages)
            done = await asking.toolbox.use_all([(call.name, call.input) for call in calls])
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": result.text, "is_error": result.is_error}
                for call, result in zip(calls, done, strict=True)
            ]
            messages.append({"role": "user", "content": results})
    raise asking.unanswered()


async def runner_tools(
    session: Sessions, *, on_call: OnCall | None = None, approve: Approve | None = None
) -> list[BetaAsyncFunctionTool[Any]]:
    """The session's tools as `client.beta.messages.tool_runner(tools=…)` takes them.

    A call that failed is told to the model as `run` tells it, without internals. For the arguments see `Adapter.run`.

    Raises:
        GarrisonError: the tools can't be listed.
    """
    toolbox = await open_toolbox(session, on_call, approve)
    return [_runnable(toolbox, offered) for offered in toolbox.offered]


def _runnable(toolbox: Toolbox, offered: Offered) -> BetaAsyncFunctionTool[Any]:
    async def use(**arguments: Any) -> str:
        call = await toolbox.use(offered.name, arguments)
        if call.is_error:
            raise ToolError(call.text)
        return call.text

    return beta_async_tool(use, name=offered.name, description=offered.description, input_schema=offered.schema)


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
