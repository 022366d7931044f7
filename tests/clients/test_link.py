"""What the bridge survives: a server that restarts, connections that break, a machine that slept."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from mcp import MCPError
from starlette.types import Message, Receive, Scope, Send

from garrison.clients.errors import AuthorizationFailed
from garrison.clients.keeper import Clocks
from garrison.clients.link import Link
from garrison.clients.wire import AnyRequest, AnyResult
from tests.clients.far_server import FarServer, near_client
from tests.clients.world import Stage

both = pytest.mark.parametrize("remote", ["legacy", "auto"])


class Server:
    """A far server that can restart, and break off its answer to one request."""

    def __init__(self, stage: Stage) -> None:
        self.far = FarServer()
        self.url = f"{stage.url}/mcp"
        self.breaks = ""
        self._stage = stage
        self._app = self.far.app()
        stage.app = self

    async def serve(self, *, task_status: Any) -> None:
        while True:
            app = self._app
            async with app.router.lifespan_context(app):
                task_status.started()
                task_status = anyio.TASK_STATUS_IGNORED
                self._restarted = anyio.Event()
                await self._restarted.wait()

    def restart(self) -> None:
        self._app = self.far.app()
        self._restarted.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        messages: list[Message] = []
        while scope["method"] == "POST" and not (messages and not messages[-1].get("more_body")):
            messages.append(await receive())
            body += messages[-1].get("body", b"")
        if self.breaks and f'"{self.breaks}"'.encode() in body:
            self.breaks = ""
            await self._app(scope, replay(messages, receive), swallow)
            headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            return  # and the connection is closed
        await self._app(scope, replay(messages, receive), send)


def replay(messages: list[Message], receive: Receive) -> Callable[[], Awaitable[Message]]:
    waiting = iter(messages)

    async def again() -> Message:
        return next(waiting, None) or await receive()

    return again


async def swallow(_: Message) -> None:
    """An answer that never arrives."""


@pytest.fixture
async def server(stages: tuple[Stage, Stage, Stage]) -> AsyncIterator[Server]:
    server = Server(stages[1])
    async with anyio.create_task_group() as tasks:
        await tasks.start(lambda task_status: server.serve(task_status=task_status))
        yield server
        tasks.cancel_scope.cancel()


@both
async def test_a_server_that_restarts_is_met_again_and_no_call_is_lost_or_doubled(server: Server, remote: str) -> None:
    async with near_client(server.url, "auto", remote) as client:
        await client.call_tool("echo", {"n": 1})
        server.restart()
        with anyio.fail_after(60):
            assert (await client.call_tool("echo", {"n": 2})).structured_content == {"echo": {"n": 2}}
    assert [params["arguments"] for params in server.far.asked("tools/call")] == [{"n": 1}, {"n": 2}]


async def test_a_restart_is_noticed_without_a_request_and_the_subscriptions_are_made_again(server: Server) -> None:
    missed = anyio.Event()

    async def hear(message: Any) -> None:
        if getattr(message, "method", "") == "notifications/resources/updated":
            missed.set()

    async with near_client(server.url, "legacy", "legacy", message_handler=hear) as client:
        request: Any = AnyRequest(method="resources/subscribe", params={"uri": "far://x"})
        await client.session.send_request(request, AnyResult)
        server.restart()
        with anyio.fail_after(60):
            await missed.wait()
    assert len(server.far.asked("resources/subscribe")) == 2


@both
async def test_a_read_whose_answer_breaks_off_is_repeated(server: Server, remote: str) -> None:
    async with near_client(server.url, "auto", remote) as client:
        server.breaks = "tools/list"
        with anyio.fail_after(60):
            assert (await client.list_tools()).tools
    assert len(server.far.asked("tools/list")) == 2


@both
async def test_a_call_whose_answer_breaks_off_is_not_repeated_and_the_client_is_told(
    server: Server, remote: str
) -> None:
    async with near_client(server.url, "auto", remote) as client:
        server.breaks = "tools/call"
        with anyio.fail_after(60), pytest.raises(MCPError, match="may or may not have been carried out"):
            await client.call_tool("echo", {})
        assert len(server.far.asked("tools/call")) == 1
        assert (await client.call_tool("echo", {"after": True})).structured_content


@both
async def test_a_machine_that_slept_connects_again(server: Server, remote: str) -> None:
    slept = [0.0]
    clocks = Clocks(wall=lambda: 1000.0 + slept[0], awake=lambda: 1000.0)
    async with near_client(server.url, "auto", remote, clocks=clocks) as client:
        await client.list_tools()
        before = len(server.far.asked("initialize") + server.far.asked("server/discover"))
        slept[0] = 3600.0
        await client.list_tools()
        await client.list_tools()
        assert len(server.far.asked("initialize") + server.far.asked("server/discover")) == before + 1


@pytest.mark.parametrize("local", ["legacy", "auto"])
async def test_a_server_that_is_away_is_tried_again_and_then_named(local: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with anyio.fail_after(60), pytest.raises(ExceptionGroup) as raised:
        async with near_client(f"http://127.0.0.1:{port}/mcp", local, "auto"):
            pass
    assert raised.group_contains(MCPError, match="did not answer")


async def test_no_login_is_begun_for_a_request_that_nobody_made() -> None:
    """When a session breaks off by itself, what needs a person is left to the next request."""
    ended = anyio.Event()
    opened: list[str] = []
    session: Any = SimpleNamespace(client=SimpleNamespace(protocol_version="2025-11-25"), ended=ended)

    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        opened.append("")
        if len(opened) > 1:
            raise AuthorizationFailed("nobody logged in")
        yield session

    async def renewed(_: Any) -> None:
        raise AssertionError

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:  # which ends when nothing is left to do
            link = Link(tasks, opening, renewed)
            async with link.session():
                pass
            ended.set()
    assert len(opened) == 2
