"""A remote MCP server for the bridge's tests: it asks, reports, announces and waits, in either era."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp import Client, MCPError, types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourceUpdated,
    ToolsListChanged,
)
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette

from garrison.clients.keeper import Clocks
from garrison.clients.relay import Relay
from garrison.clients.session import connect

Context = ServerRequestContext[Any, Any]
TOOLS = ("echo", "wait", "ask", "report", "big", "fail", "say")
FORM: dict[str, Any] = {
    "message": "Who?",
    "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
}
BIG = 10_000_000
_PROMPT = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="Think."))
QUESTIONS: dict[str, tuple[Any, Any]] = {
    "name": (types.ElicitRequest(params=types.ElicitRequestFormParams.model_validate(FORM)), types.ElicitResult),
    "roots": (types.ListRootsRequest(), types.ListRootsResult),
    "model": (
        types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[_PROMPT], max_tokens=5)),
        types.CreateMessageResult,
    ),
}


@dataclass
class FarServer:
    """`seen` are the requests that reached it; `waiting` and `cancelled` tell of the tool `wait`."""

    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    clients: list[types.InitializeRequestParams | None] = field(default_factory=list)
    waiting: anyio.Event = field(default_factory=anyio.Event)
    release: anyio.Event = field(default_factory=anyio.Event)
    cancelled: anyio.Event = field(default_factory=anyio.Event)
    listening: anyio.Event = field(default_factory=anyio.Event)
    roots_changed: anyio.Event = field(default_factory=anyio.Event)
    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    sessions: list[Any] = field(default_factory=list)
    announces: bool = True
    never_content: bool = False
    news_at_once: bool = False

    def app(self) -> Starlette:
        server: Server[Any] = Server(
            "far",
            version="7",
            instructions="Ask me.",
            on_list_tools=self._tools,
            on_call_tool=self._call,
            on_list_resources=self._resources,
            on_read_resource=self._read,
            on_list_prompts=self._prompts,
            on_get_prompt=self._prompt,
            on_completion=self._complete,
            on_subscriptions_listen=self._listen,
        )
        server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, self._subscribe)
        server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, self._subscribe)
        server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self._subscribe)
        server.add_notification_handler("notifications/roots/list_changed", types.NotificationParams, self._roots)
        server.middleware.append(self._look)
        return server.streamable_http_app()

    async def _look(self, ctx: Context, call_next: Any) -> Any:
        if ctx.request_id is not None:
            self.seen.append((ctx.method, dict(ctx.params or {})))
            self.clients.append(ctx.session.client_params)
            if ctx.session not in self.sessions:
                self.sessions.append(ctx.session)
        return await call_next(ctx)

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [params for name, params in self.seen if name == method]

    async def announce(self) -> None:
        """Say, in both eras, that the tools changed and that `far://x` did."""
        await self.bus.publish(ToolsListChanged())
        await self.bus.publish(ResourceUpdated("far://x"))
        for session in self.sessions[-1:]:
            if session.protocol_version not in MODERN_PROTOCOL_VERSIONS:
                await session.send_tool_list_changed()
                await session.send_resource_updated("far://x")

    async def _listen(self, ctx: Context, params: Any) -> Any:
        self.listening.set()
        if not self.announces:
            raise MCPError(code=types.METHOD_NOT_FOUND, message="not here")
        return await ListenHandler(self.bus)(ctx, params)

    async def _roots(self, ctx: Context, params: Any) -> None:
        self.roots_changed.set()

    async def _tools(self, ctx: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema={"type": "object"}) for name in TOOLS])

    async def _resources(self, ctx: Context, params: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[types.Resource(uri="far://x", name="x")])

    async def _read(self, ctx: Context, params: Any) -> types.ReadResourceResult:
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text="X")])

    async def _prompts(self, ctx: Context, params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[types.Prompt(name="p")])

    async def _prompt(self, ctx: Context, params: Any) -> types.GetPromptResult:
        text = types.TextContent(type="text", text=f"p for {(params.arguments or {}).get('who')}")
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=text)])

    async def _complete(self, ctx: Context, params: Any) -> types.CompleteResult:
        return types.CompleteResult(completion=types.Completion(values=[params.argument.value + "!"]))

    async def _subscribe(self, ctx: Context, params: Any) -> types.EmptyResult:
        if self.news_at_once:
            news = types.ResourceUpdatedNotification(params=types.ResourceUpdatedNotificationParams(uri=params.uri))
            await ctx.session.send_notification(news, related_request_id=ctx.request_id)  # before the answer
        return types.EmptyResult()

    async def _call(self, ctx: Context, params: Any) -> Any:
        return await getattr(self, f"_{params.name}")(ctx, params)

    async def _echo(self, ctx: Context, params: Any) -> Any:
        return types.CallToolResult(content=[], structured_content={"echo": params.arguments})

    async def _wait(self, ctx: Context, params: Any) -> Any:
        self.waiting.set()
        try:
            await self.release.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled.set()
            raise
        return _text("released")

    async def _fail(self, ctx: Context, params: Any) -> Any:
        raise MCPError(code=-32050, message="out of paper", data={"tray": 2})

    async def _big(self, ctx: Context, params: Any) -> Any:
        return _text("x" * BIG)

    async def _report(self, ctx: Context, params: Any) -> Any:
        token = (ctx.meta or {}).get("progress_token")
        for step in (1, 2):
            said = types.ProgressNotificationParams(
                progress_token=token if token is not None else "none", progress=step, total=2, message=f"step {step}"
            )
            await ctx.session.send_notification(
                types.ProgressNotification(params=said), related_request_id=ctx.request_id
            )
        return _text("reported")

    async def _say(self, ctx: Context, params: Any) -> Any:
        said = types.LoggingMessageNotification(params=types.LoggingMessageNotificationParams(level="error", data="hm"))
        await ctx.session.send_notification(said, related_request_id=ctx.request_id)
        return _text("said")

    async def _ask(self, ctx: Context, params: Any) -> Any:
        """Asks something: in a result of the newer era, by a request of its own in the older one."""
        about = (params.arguments or {}).get("about", "name")
        question, answer_type = QUESTIONS[about]
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            # One question on the session's stream, the others on the call's own: servers do both.
            call = None if about == "name" else ServerMessageMetadata(related_request_id=ctx.request_id)
            return _text(said_by(await ctx.session.send_request(question, answer_type, metadata=call)))
        if not params.input_responses or self.never_content:
            return types.InputRequiredResult(input_requests={"who": question}, request_state="s1")
        return _text(f"{said_by(params.input_responses['who'])} {params.request_state}")


def said_by(answer: Any) -> str:
    if isinstance(answer, types.ListRootsResult):
        return f"roots {[str(root.uri) for root in answer.roots]}"
    if isinstance(answer, types.ElicitResult):
        return f"hello {(answer.content or {}).get('name')}"
    return f"model {answer.content.text}"


def _text(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


@asynccontextmanager
async def near_bridge(
    url: str,
    remote: str,
    *,
    pauses: tuple[float, ...] = (0.0, 0.0),
    clocks: Clocks | None = None,
    connecting: dict[str, Any] | None = None,
) -> AsyncIterator[tuple[Relay, Any]]:
    """A bridge to `url`, which it speaks to in era `remote`, and the two streams of its local client, in memory.

    `connecting` are more arguments for `connect`.
    """

    def opened(mcp_options: Any) -> AbstractAsyncContextManager[Any]:
        return connect(url, mode=remote, mcp_options=mcp_options, **(connecting or {}))

    async with create_client_server_memory_streams() as (near, far), anyio.create_task_group() as tasks:
        relay = Relay(tasks, opened, pauses=pauses, clocks=clocks)

        async def serve() -> None:
            await relay.server.run(*far, relay.server.create_initialization_options())

        tasks.start_soon(serve)
        yield relay, near
        await relay.close()
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def near_client(
    url: str,
    local: str,
    remote: str,
    *,
    pauses: tuple[float, ...] = (0.0, 0.0),
    clocks: Clocks | None = None,
    connecting: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Client]:
    """A client of era `local` at such a bridge."""

    @asynccontextmanager
    async def transport() -> AsyncIterator[Any]:
        async with near_bridge(url, remote, pauses=pauses, clocks=clocks, connecting=connecting) as (_, near):
            yield near

    async with Client(transport(), mode=local, cache=None, **options) as client:
        yield client
