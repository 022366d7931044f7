"""What both eras of MCP can do passes a guard: questions back, progress, cancelling, changes, and the server's life."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import Subscription
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    InputRequiredResult,
    TextContent,
)
from starlette.types import Message, Receive, Scope, Send

from garrison.base.events import Kind
from garrison.content.schema import ToolSchemas
from garrison.guard.policy import Policy, Rule
from tests.guard.test_both_eras import guarded
from tests.guard.world import MODERN, World, legacy, living, modern

ERAS = pytest.mark.parametrize("mode", ["legacy", MODERN])
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = ("asks", "works", "waits", "changes")
FORM: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Server:
    """An MCP server of the SDK whose tools do what only some tools do."""

    def __init__(self) -> None:
        self.waiting, self.cancelled, self.heard = anyio.Event(), anyio.Event(), anyio.Event()
        self.lived: list[str] = []
        mcp = MCPServer("protocol", log_level="CRITICAL", lifespan=self._life)
        mcp.add_tool(self._asks, name="asks", structured_output=False)
        mcp.add_tool(self._works, name="works", structured_output=False)
        mcp.add_tool(self._waits, name="waits", structured_output=False)
        mcp.add_tool(self._changes, name="changes", structured_output=False)
        self.mcp = mcp

    @asynccontextmanager
    async def _life(self, _server: MCPServer[Any]) -> AsyncIterator[None]:
        self.lived.append("began")
        yield
        self.lived.append("ended")

    async def _asks(self, context: Context[Any, Any]) -> CallToolResult | InputRequiredResult:
        if context.protocol_version == MODERN and not context.input_responses:
            params = ElicitRequestFormParams(message="who?", requested_schema=FORM)
            return InputRequiredResult(input_requests={"who": ElicitRequest(params=params)}, request_state="round 1")
        answers = context.input_responses or {"who": await self._asked(context)}
        answer = answers["who"]
        assert isinstance(answer, ElicitResult)
        return CallToolResult(content=[TextContent(text=f"{answer.content} {context.request_state}")])

    async def _asked(self, context: Context[Any, Any]) -> ElicitResult:
        answer: ElicitResult = await context.session.elicit_form("who?", FORM)
        return answer

    async def _works(self, context: Context[Any, Any]) -> str:
        await context.report_progress(1, 2)
        await self.heard.wait()
        await context.report_progress(2, 2)
        return "done"

    async def _waits(self, context: Context[Any, Any]) -> str:
        await context.report_progress(1)
        self.waiting.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.cancelled.set()
            raise
        return "never"

    async def _changes(self, context: Context[Any, Any]) -> str:
        await context.notify_tools_changed()
        await context.session.send_tool_list_changed()
        return "said"


@asynccontextmanager
async def place(world: World, server: Server, **options: Any) -> AsyncIterator[str]:
    """The address of `server` behind a guard that lets its tools be called."""
    policy = Policy(tools=dict.fromkeys(TOOLS, Rule()))
    schemas = ToolSchemas(dict.fromkeys(TOOLS, NOTHING))
    async with guarded(world, server.mcp.streamable_http_app(**options), policy=policy, schemas=schemas) as url:
        yield url


@asynccontextmanager
async def speaking(world: World, url: str, mode: Any, **options: Any) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {world.mint(audience=url)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **options) as client,
    ):
        yield client


async def says_alice(_context: Any, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": f"alice, asked {params.message}"})


@ERAS
async def test_a_tools_question_reaches_the_user_and_the_answer_the_tool(world: World, mode: str) -> None:
    """In the old era a request on the call's stream, answered by a POST; in the new one input_required and a retry."""
    async with (
        place(world, Server()) as url,
        speaking(world, url, mode, elicitation_callback=says_alice) as client,
    ):
        with anyio.fail_after(60):
            answer = str((await client.call_tool("asks")).content)
    assert "alice, asked who?" in answer
    assert ("round 1" in answer) == (mode == MODERN)


@ERAS
async def test_progress_arrives_while_the_tool_is_at_work(world: World, mode: str) -> None:
    server = Server()
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)
        server.heard.set()  # the tool goes on only when its first word has come through

    async with place(world, server) as url, speaking(world, url, mode) as client:
        with anyio.fail_after(60):
            assert "done" in str((await client.call_tool("works", progress_callback=note)).content)
    assert seen == [1, 2]


@ERAS
async def test_a_call_that_its_caller_gives_up_is_cancelled_in_the_tool(world: World, mode: str) -> None:
    """In the old era by notifications/cancelled; in the new one by closing the call's stream."""
    server = Server()
    async with place(world, server) as url, speaking(world, url, mode) as client:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "waits")
                await server.waiting.wait()
                tasks.cancel_scope.cancel()
            await server.cancelled.wait()


async def test_a_connection_that_breaks_cancels_its_call(world: World) -> None:
    """A socket that is closed, and no word said; then the end of the call is recorded."""
    server, request_ = Server(), modern("tools/call", {"name": "waits", "arguments": {}})
    async with place(world, server) as url:
        headers = {"authorization": f"Bearer {world.mint(audience=url)}", **request_["headers"]}
        request = httpx2.Request("POST", url, json=request_["json"], headers=headers)
        host, _, port = url.split("/")[2].partition(":")
        raw = [f"POST /mcp HTTP/1.1\r\nhost: {host}:{port}".encode()]
        raw += [name + b": " + value for name, value in request.headers.raw if name.lower() != b"host"]
        with anyio.fail_after(60):
            async with await anyio.connect_tcp(host, int(port)) as stream:
                await stream.send(b"\r\n".join(raw) + b"\r\n\r\n" + request.read())
                await server.waiting.wait()
            await server.cancelled.wait()
            await world.events.next_of(Kind.CALL_FINISHED)


async def test_a_listener_of_the_new_era_hears_of_changes(world: World) -> None:
    async with place(world, Server()) as url, speaking(world, url, MODERN) as client:
        with anyio.fail_after(60):
            async with client.listen(tools_list_changed=True) as heard:
                await client.call_tool("changes")
                await first(heard)


async def first(heard: Subscription) -> Any:
    async for event in heard:
        return event
    raise AssertionError("the stream ended without a word")


async def test_the_old_eras_own_stream_brings_what_the_server_says_unasked(world: World) -> None:
    """The GET stream of a session, which the SDK's client opens by itself; DELETE ends the session."""
    changed = anyio.Event()

    async def note(message: Any) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            changed.set()

    async with place(world, Server()) as url, speaking(world, url, "legacy", message_handler=note) as client:
        with anyio.fail_after(60):
            while not changed.is_set():  # whether the stream is open already, only the server knows
                await client.call_tool("changes")
                with anyio.move_on_after(0.2):
                    await changed.wait()
    methods = [event.target.split()[0] for event in world.events.events if event.kind is Kind.CALL_ALLOWED]
    assert {"GET", "DELETE"} <= set(methods)


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
@pytest.mark.parametrize("request_", [legacy("tools/list"), modern("tools/list")], ids=["legacy", "modern"])
async def test_with_or_without_a_trailing_slash_it_is_the_same_server(
    world: World, path: str, request_: dict[str, Any]
) -> None:
    async with place(world, Server(), stateless_http=True, json_response=True) as url:
        headers = {**request_["headers"], "authorization": f"Bearer {world.mint(audience=url)}"}
        async with httpx2.AsyncClient(trust_env=False) as http:
            response = await http.post(url.removesuffix("/mcp") + path, json=request_["json"], headers=headers)
    assert {tool["name"] for tool in response.json()["result"]["tools"]} == set(TOOLS)


async def test_the_servers_life_begins_and_ends_with_the_guards(world: World) -> None:
    server = Server()
    async with place(world, server) as url, speaking(world, url, "legacy") as client:
        await client.list_tools()
        assert server.lived == ["began"]
    assert server.lived == ["began", "ended"]


@pytest.mark.parametrize("answer", ["startup", "shutdown"])
async def test_a_server_that_cannot_start_or_stop_says_so_through_the_guard(world: World, answer: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == f"lifespan.{answer}"
        await send({"type": f"lifespan.{answer}.failed", "message": "no database"})

    said: list[Message] = []

    async def receive() -> Message:
        return {"type": f"lifespan.{answer}"}

    async def send(message: Message) -> None:
        said.append(message)

    await world.guard(app)({"type": "lifespan"}, receive, send)
    assert said == [{"type": f"lifespan.{answer}.failed", "message": "no database"}]


@pytest.mark.parametrize("request_", [legacy("tools/list"), modern("tools/list")], ids=["legacy", "modern"])
@pytest.mark.parametrize("size", [1, 2])
async def test_a_batch_is_refused_in_both_eras(world: World, request_: dict[str, Any], size: int) -> None:
    response = await world.client().post("/mcp", json=[request_["json"]] * size, headers=request_["headers"])
    assert (response.status_code, response.json()["error"]["code"]) == (400, -32600)
    assert world.app.scopes == []


async def test_the_first_event_of_a_list_arrives_before_the_app_has_ended(world: World) -> None:
    """Lists are rewritten, event by event: also these are streamed and not gathered."""
    first_was_read = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        note = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
        await send({"type": "http.response.body", "body": note, "more_body": True})
        await first_was_read.wait()
        await send({"type": "http.response.body", "body": b'data: {"result":{"tools":[{"name":"x"}]}}\n\n'})

    async with guarded(world, living(app)) as url:
        headers = {"authorization": f"Bearer {world.mint(audience=url)}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
            http.stream("POST", url, **legacy("tools/list")) as response,
        ):
            chunks = response.aiter_raw()
            assert b"notifications/progress" in await anext(chunks)
            first_was_read.set()
            assert b'"tools":[]' in await anext(chunks)
