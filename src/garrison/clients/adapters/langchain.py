"""LangChain's agent. The tools are bound by their schemas; running them is the toolbox's, by a middleware.

`langchain.mcp` is beta, and langchain-mcp-adapters doesn't go with mcp 2; neither is needed.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Unpack

import langsmith
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.prebuilt.tool_node import ToolCallRequest

from garrison.base.errors import GarrisonError
from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed
from garrison.clients.question import Options, Question, asked
from garrison.clients.toolbox import Offered, OnText, Sessions, Toolbox

DEFAULT_MODEL = "gpt-5.4-mini"


async def run(session: Sessions, question: str, **options: Unpack[Options]) -> Answer:
    asking = await asked(session, question, DEFAULT_MODEL, **options)
    chat: Any = ChatOpenAI  # its aliases are unknown to mypy without the pydantic plugin
    agent: Any = create_agent(
        chat(
            model=asking.model,
            base_url=asking.base_url or "https://api.openai.com/v1",
            api_key=asking.api_key,
            streaming=asking.on_text is not None,
            stream_usage=True,
            callbacks=[_Text(asking.on_text)] if asking.on_text else None,
        ),
        tools=[_tool(asking.toolbox, offered) for offered in asking.toolbox.offered],
        middleware=[_Toolbox(asking)],
    )
    messages = [*asking.before, HumanMessage(question)]
    try:
        with langsmith.tracing_context(enabled=False):  # the conversation is the user's; it is reported to nobody
            state = await agent.ainvoke({"messages": messages}, {"recursion_limit": 5 * asking.max_turns + 10})
    except GarrisonError:
        raise
    except Exception as error:
        raise ModelFailed("the model", error) from error
    for message in state["messages"][len(messages) :]:
        if isinstance(message, AIMessage) and message.usage_metadata:
            asking.toolbox.count(message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"])
    return asking.answer(state["messages"][-1].text, state["messages"])


class _Text(AsyncCallbackHandler):
    """Hands on each piece of text."""

    def __init__(self, on_text: OnText) -> None:
        self._on_text = on_text

    async def on_llm_new_token(self, token: Any, **_: Any) -> None:
        if isinstance(token, str) and token:
            self._on_text(token)


class _Toolbox(AgentMiddleware[Any, Any, Any]):
    """Runs every tool call through the toolbox, and counts the turns."""

    def __init__(self, asking: Question) -> None:
        super().__init__()
        self._asking = asking
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
        if self._turns >= self._asking.max_turns:
            raise self._asking.unanswered()
        invalid = [await self._use(c["id"], c["name"] or "", c["args"]) for c in message.invalid_tool_calls]
        return {"messages": invalid, **({} if message.tool_calls else {"jump_to": "model"})} if invalid else None

    async def _use(self, call_id: str | None, name: str, arguments: Any) -> ToolMessage:
        call = await self._asking.toolbox.use(name, arguments)
        status = "error" if call.is_error else "success"
        return ToolMessage(call.text, tool_call_id=call_id or "", name=name, status=status)


def _tool(toolbox: Toolbox, offered: Offered) -> StructuredTool:
    async def use(**arguments: Any) -> str:
        return (await toolbox.use(offered.name, arguments)).text

    return StructuredTool(name=offered.name, description=offered.description, args_schema=offered.schema, coroutine=use)
