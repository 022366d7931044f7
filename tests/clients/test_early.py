"""What a server says before anybody is there to hear it: nothing of it is lost, and not for ever is it kept."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from mcp import MCPError, types
from mcp.shared.message import SessionMessage
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garrison.clients.local import Local
from garrison.clients.session import connect
from tests.clients.far_server import FORM, FarServer, near_bridge, near_client
from tests.clients.world import Stage


class LateStream:
    """Opens the stream of what `app` says unasked only when a call has come, or none came for a while."""

    def __init__(self, app: ASGIApp) -> None:
        self.order: list[str] = []
        self._app = app
        self._called = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def look() -> Message:
            message = await receive()
            if b'"tools/call"' in message.get("body", b""):
                self.order.append("call")
                self._called.set()
            return message

        async def tell(message: Message) -> None:
            await send(message)
            if scope["method"] == "GET" and message["type"] == "http.response.start":
                self.order.append("stream")

        if scope["method"] == "GET":
            with anyio.move_on_after(0.3):
                await self._called.wait()
        await self._app(scope, look, tell)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def ada(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


@pytest.mark.parametrize("local", ["legacy", "auto", "no bridge"])
async def test_no_call_is_made_before_the_stream_for_the_servers_questions_is_open(
    stages: tuple[Stage, Stage, Stage], far: FarServer, url: str, local: str
) -> None:
    assert stages[1].app
    stages[1].app = late = LateStream(stages[1].app)
    with anyio.fail_after(60):
        if local == "no bridge":
            async with connect(url, mode="legacy", elicitation=ada) as session:
                result = await session.call("ask", {})
        else:
            async with near_client(url, local, "legacy", elicitation_callback=ada) as client:
                result = await client.call_tool("ask", {})
    assert late.order == ["stream", "call"]
    assert "hello Ada" in str(result.content)


async def test_a_client_is_told_and_asked_nothing_before_it_is_initialized(far: FarServer, url: str) -> None:
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await far.sessions[-1].elicit_form("Who?", FORM["requestedSchema"]))

    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    async with near_bridge(url, "legacy") as (relay, (read, write)), anyio.create_task_group() as tasks:
        with anyio.fail_after(60):
            await write.send(said(types.JSONRPCRequest(jsonrpc="2.0", id=1, method="initialize", params=params)))
            assert (await read.receive()).message.id == 1
            tasks.start_soon(ask)
            await far.sessions[-1].send_tool_list_changed()
            await until(lambda: len(relay._local._early) == relay._local._asking == 1)
            await write.send(said(types.JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")))
            heard = [(await read.receive()).message for _ in range(2)]
            [question] = [message for message in heard if message.method == "elicitation/create"]
            assert "notifications/tools/list_changed" in [message.method for message in heard]
            answer = {"action": "accept", "content": {"name": "Ada"}}
            await write.send(said(types.JSONRPCResponse(jsonrpc="2.0", id=question.id, result=answer)))
            await until(lambda: bool(answers))
    assert answers[0].content == {"name": "Ada"}


def said(message: Any) -> SessionMessage:
    return SessionMessage(message)


async def test_only_so_much_waits_for_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garrison.clients.local.MAX_EARLY", 1)
    told: list[str] = []

    async def send(notification: Any) -> None:
        told.append(notification.method)

    async def answer(request: Any, _: Any) -> Any:
        told.append(request.method)
        return types.EmptyResult()

    near: Any = SimpleNamespace(send_notification=send, send_request=answer)
    local = Local(session=near, version="2025-11-25")
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for method in ("notifications/a", "notifications/b"):
                await local.tell(method, None)
            tasks.start_soon(local.ask, "roots/list", None)
            await until(lambda: local._asking == 1)
            with pytest.raises(MCPError, match="too many questions"):
                await local.ask("roots/list", None)
            await local.begin()
    assert told == ["notifications/a", "roots/list"]


async def test_news_that_come_before_the_subscription_is_confirmed_are_heard(far: FarServer, url: str) -> None:
    far.news_at_once = True
    with anyio.fail_after(60):
        async with (
            near_client(url, "auto", "legacy") as client,
            client.listen(resource_subscriptions=["far://x"]) as news,
        ):
            assert "far://x" in str(await anext(aiter(news)))
