"""LangChain's agent. The tools are bound by their schemas; running them is the toolbox's, by a middleware.

`langchain.mcp` is beta, and langchain-mcp-adapters doesn't go with mcp 2; neither is needed.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import langsmith
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain.messages import AIMessage, ToolMessage
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.prebuilt.tool_node import ToolCallRequest

from garrison.base.errors import GarrisonError
from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.toolbox import NO_KEY, Approve, Offered, OnCall, OnText, Sessions, Toolbox, open_toolbox

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
    chat: Any = ChatOpenAI  # its aliases are unknown to mypy without the pydantic plugin
    agent: Any = create_agent(
        chat(
            model=model or DEFAULT_MODEL,
            base_url=base_url or "https://api.openai.com/v1",
            api_key=api_key or NO_KEY,
            streaming=on_text is not None,
            stream_usage=True,
            callbacks=[_Text(on_text)] if on_text else None,
        ),
        tools=[_tool(toolbox, offered) for offered in toolbox.offered],
        middleware=[_Toolbox(toolbox, max_turns)],
    )
    question_state = {"messages": [("user", question)]}
    try:
        with langsmith.tracing_context(enabled=False):  # the conversation is the user's; it is reported to nobody
            state = await agent.ainvoke(question_state, {"recursion_limit": 5 * max_turns + 10})
    except GarrisonError:
        raise
    except Exception as error:
        raise ModelFailed("the model", error) from error
    for message in state["messages"]:
        if isinstance(message, AIMessage) and message.usage_metadata:
            toolbox.count(message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"])
    return toolbox.answer(state["messages"][-1].text)


class _Text(AsyncCallbackHandler):
    """Hands on each piece of text."""

    def __init__(self, on_text: OnText) -> None:
        self._on_text = on_text

    async def on_llm_new_token(self, token: Any, **_: Any) -> None:
        if isinstance(token, str) and token:
            self._on_text(token)


class _Toolbox(AgentMiddleware[Any, Any, Any]):
    """Runs every tool call through the toolbox, and counts the turns."""

    def __init__(self, toolbox: Toolbox, max_turns: int) -> None:
        super().__init__()
        self._toolbox = toolbox
        self._max_turns = max_turns
        self._turns = 0

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[..., Awaitable[Any]],  # noqa: ARG002 - it would mix up an argument called `config` with its own
    ) -> ToolMessage:
        call = request.tool_call
        return await self._use(call["id"], call["name"], call["args"])

    @hook_config(can_jump_to=["model"])
    async def aafter_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:  # noqa: ARG002 - LangChain's signature
        """Answer calls whose arguments weren't JSON, which LangChain would drop."""
        message: AIMessage = state["messages"][-1]
        self._turns += 1
        if not message.tool_calls and not message.invalid_tool_calls:
            return None
        if self._turns >= self._max_turns:
            raise TooManyTurns(self._max_turns, self._toolbox.calls)
        invalid = [await self._use(c["id"], c["name"] or "", c["args"]) for c in message.invalid_tool_calls]
        return {"messages": invalid, **({} if message.tool_calls else {"jump_to": "model"})} if invalid else None

    async def _use(self, call_id: str | None, name: str, arguments: Any) -> ToolMessage:
        call = await self._toolbox.use(name, arguments)
        status = "error" if call.is_error else "success"
        return ToolMessage(call.text, tool_call_id=call_id or "", name=name, status=status)


def _tool(toolbox: Toolbox, offered: Offered) -> StructuredTool:
    async def use(**arguments: Any) -> str:
        return (await toolbox.use(offered.name, arguments)).text

    return StructuredTool(name=offered.name, description=offered.description, args_schema=offered.schema, coroutine=use)
