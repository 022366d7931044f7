"""What the bridge hands on, for a client of either era and a server of either era."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.client.session import ClientRequestContext

from garrison.clients.local import Local
from garrison.clients.wire import AnyNotification, AnyRequest
from tests.clients.far_server import BIG, FORM, FarServer, near_client

ERAS = [("legacy", "legacy"), ("legacy", "auto"), ("auto", "legacy"), ("auto", "auto")]
both = pytest.mark.parametrize(("local", "remote"), ERAS, ids=[f"{a}-to-{b}" for a, b in ERAS])


def text(result: types.CallToolResult) -> str:
    assert isinstance(result.content[0], types.TextContent)
    return result.content[0].text


async def answer_ada(_: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    assert params.message == "Who?"
    return types.ElicitResult(action="accept", content={"name": "Ada"})


@both
async def test_the_remote_servers_name_and_all_its_lists_arrive(
    far: FarServer, url: str, local: str, remote: str
) -> None:
    async with near_client(url, local, remote) as client:
        assert client.server_info
        assert (client.server_info.name, client.server_info.version) == ("far", "7")
        assert client.instructions == "Ask me."
        assert client.server_capabilities.tools
        assert [tool.name for tool in (await client.list_tools()).tools][:2] == ["echo", "wait"]
        assert [str(one.uri) for one in (await client.list_resources()).resources] == ["far://x"]
        assert (await client.read_resource("far://x")).contents[0].model_dump()["text"] == "X"
        assert (await client.list_prompts()).prompts[0].name == "p"
        assert "p for me" in str((await client.get_prompt("p", {"who": "me"})).messages)
        reference = types.PromptReference(type="ref/prompt", name="p")
        assert (await client.complete(reference, {"name": "who", "value": "m"})).completion.values == ["m!"]
        result = await client.call_tool("echo", {"deep": {"null": None, "list": [1, None]}})
        assert result.structured_content == {"echo": {"deep": {"null": None, "list": [1, None]}}}


@both
async def test_the_remote_server_learns_whom_it_serves(far: FarServer, url: str, local: str, remote: str) -> None:
    info = types.Implementation(name="desk", version="3")
    async with near_client(url, local, remote, client_info=info, elicitation_callback=answer_ada) as client:
        await client.list_tools()
    known = far.clients[-1]
    assert known
    assert (known.client_info.name, known.client_info.version) == ("desk", "3")
    assert known.capabilities.elicitation
    assert known.capabilities.sampling is None


@both
async def test_an_error_arrives_with_its_code_words_and_data(far: FarServer, url: str, local: str, remote: str) -> None:
    async with near_client(url, local, remote) as client:
        with pytest.raises(MCPError, match="out of paper") as raised:
            await client.call_tool("fail", {})
    assert (raised.value.error.code, raised.value.error.data) == (-32050, {"tray": 2})


@both
async def test_a_question_of_the_server_is_put_to_the_client(far: FarServer, url: str, local: str, remote: str) -> None:
    async with near_client(url, local, remote, elicitation_callback=answer_ada) as client:
        with anyio.fail_after(60):
            assert text(await client.call_tool("ask", {})).startswith("hello Ada")


@both
@pytest.mark.parametrize(("about", "answer"), [("roots", "roots ['file:///r']"), ("model", "model thought")])
async def test_roots_and_thoughts_are_asked_of_the_client_too(
    far: FarServer, url: str, local: str, remote: str, about: str, answer: str
) -> None:
    async def roots(_: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root.model_validate({"uri": "file:///r"})])

    async def think(_: ClientRequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        thought = types.TextContent(type="text", text="thought")
        return types.CreateMessageResult(role="assistant", content=thought, model="m")

    options: Any = {"list_roots_callback": roots} if about == "roots" else {"sampling_callback": think}
    async with near_client(url, local, remote, **options) as client:
        with anyio.fail_after(60):
            assert text(await client.call_tool("ask", {"about": about})).startswith(answer)


@both
async def test_a_client_that_refuses_a_question_ends_the_call(
    far: FarServer, url: str, local: str, remote: str
) -> None:
    async def refuse(_: ClientRequestContext, params: types.ElicitRequestParams) -> types.ErrorData:
        return types.ErrorData(code=-32602, message="not now")

    async with near_client(url, local, remote, elicitation_callback=refuse) as client:
        with pytest.raises(MCPError, match="not now"), anyio.fail_after(60):
            await client.call_tool("ask", {})


@both
async def test_progress_arrives_at_the_call_it_is_about(far: FarServer, url: str, local: str, remote: str) -> None:
    steps: list[tuple[float, float | None, str | None]] = []
    done = anyio.Event()

    async def report(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, total, message))
        if len(steps) == 2:
            done.set()

    async with near_client(url, local, remote) as client:
        await client.call_tool("report", {}, progress_callback=report)
        with anyio.fail_after(60):
            await done.wait()
    assert sorted(steps) == [(1.0, 2.0, "step 1"), (2.0, 2.0, "step 2")]


@both
async def test_a_cancelled_call_is_cancelled_at_the_server(far: FarServer, url: str, local: str, remote: str) -> None:
    async with near_client(url, local, remote) as client:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "wait", {})
                await far.waiting.wait()
                tasks.cancel_scope.cancel()
            await far.cancelled.wait()
            assert text(await client.call_tool("say", {})) == "said"


@both
async def test_a_slow_call_holds_up_no_other(far: FarServer, url: str, local: str, remote: str) -> None:
    async with near_client(url, local, remote) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "wait", {})
        with anyio.fail_after(60):
            await far.waiting.wait()
            assert (await client.call_tool("echo", {"n": 1})).structured_content == {"echo": {"n": 1}}
        far.release.set()


@both
async def test_a_result_of_ten_megabytes_arrives(far: FarServer, url: str, local: str, remote: str) -> None:
    async with near_client(url, local, remote) as client:
        assert len(text(await client.call_tool("big", {}))) == BIG


@both
async def test_news_reach_a_client_that_wants_them(far: FarServer, url: str, local: str, remote: str) -> None:
    heard: list[str] = []
    news = anyio.Event()

    async def hear(message: Any) -> None:
        heard.append(getattr(message, "method", ""))
        if {"notifications/tools/list_changed", "notifications/resources/updated"} <= set(heard):
            news.set()

    async with near_client(url, local, remote, message_handler=hear) as client:
        with anyio.fail_after(60):
            if local == "legacy":
                await ask(client, "resources/subscribe", {"uri": "far://x"})
                await announced(far, remote, news)
            else:
                async with client.listen(tools_list_changed=True, resource_subscriptions=["far://x"]):
                    await announced(far, remote, news)


async def announced(far: FarServer, remote: str, news: anyio.Event) -> None:
    """Announce until it is heard: when a stream has begun at the far end, nobody at this end is told."""
    if remote == "auto":
        await far.listening.wait()
    while not news.is_set():
        await far.announce()
        with anyio.move_on_after(0.05):
            await news.wait()


@both
async def test_log_messages_reach_a_client_that_asked_for_them(
    far: FarServer, url: str, local: str, remote: str
) -> None:
    said = anyio.Event()

    async def hear(params: types.LoggingMessageNotificationParams) -> None:
        assert params.data == "hm"
        said.set()

    async with near_client(url, local, remote, logging_callback=hear, log_level="debug") as client:
        if local == "legacy":
            await ask(client, "logging/setLevel", {"level": "debug"})
        with anyio.fail_after(60):
            await client.call_tool("say", {})
            await said.wait()
            await client.list_tools()
    if remote == "legacy":
        assert [params["level"] for params in far.asked("logging/setLevel")] == ["debug"]


async def test_log_messages_are_kept_from_a_client_of_the_newer_era_that_did_not_ask() -> None:
    told: list[str] = []

    async def send(notification: Any) -> None:
        told.append(notification.method)

    near: Any = SimpleNamespace(send_notification=send)
    for version, level in (("2026-07-28", None), ("2026-07-28", "info"), ("2025-11-25", None)):
        local = Local(session=near, version=version, log_level=level)
        await local.begin()
        await local.tell("notifications/message", {"level": "error", "data": "hm"})
        told.append(f"{version} {level}")
    message = "notifications/message"
    assert told == ["2026-07-28 None", message, "2026-07-28 info", message, "2025-11-25 None"]


async def ask(client: Client, method: str, params: dict[str, Any]) -> None:
    """A request that the SDK's client calls deprecated."""
    request: Any = AnyRequest(method=method, params=params)
    await client.session.send_request(request, types.EmptyResult)


async def test_a_client_of_the_older_era_may_change_its_roots(far: FarServer, url: str) -> None:
    async def roots(_: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[])

    async with near_client(url, "legacy", "legacy", list_roots_callback=roots) as client:
        said: Any = AnyNotification(method="notifications/roots/list_changed")
        await client.session.send_notification(said)
        with anyio.fail_after(60):
            await far.roots_changed.wait()


async def first_question(client: Client) -> types.InputRequiredResult:
    asked = await client.session.call_tool("ask", {}, allow_input_required=True)
    assert isinstance(asked, types.InputRequiredResult)
    assert asked.input_requests
    return asked


@pytest.mark.parametrize(("tool", "state"), [("echo", None), ("ask", "guessed")])
async def test_a_held_call_is_gone_on_with_by_its_own_state_and_tool_alone(
    far: FarServer, url: str, tool: str, state: str | None
) -> None:
    async with near_client(url, "auto", "legacy", elicitation_callback=answer_ada) as client:
        with anyio.fail_after(60):
            asked = await first_question(client)
            answers: Any = {key: types.ElicitResult(action="decline") for key in asked.input_requests or {}}
            with pytest.raises(MCPError, match="no call waits"):
                await client.session.call_tool(
                    tool, {}, input_responses=answers, request_state=state or asked.request_state
                )
            result = await client.session.call_tool(
                "ask", {}, input_responses=answers, request_state=asked.request_state, allow_input_required=True
            )
    assert isinstance(result, types.CallToolResult)
    assert text(result) == "hello None"


async def test_only_so_many_calls_are_held(far: FarServer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garrison.clients.exchanges.MAX_HELD", 1)
    async with near_client(url, "auto", "legacy", elicitation_callback=answer_ada) as client:
        with anyio.fail_after(60):
            await first_question(client)
            with pytest.raises(MCPError, match="too many calls"):
                await client.call_tool("echo", {})


async def test_a_question_outside_a_call_is_refused_to_a_server_whose_client_takes_none(
    far: FarServer, url: str
) -> None:
    async with near_client(url, "auto", "legacy", elicitation_callback=answer_ada) as client:
        await client.list_tools()
        with anyio.fail_after(60), pytest.raises(MCPError, match="answers only during a call"):
            await far.sessions[-1].elicit_form("Who?", FORM["requestedSchema"])


async def test_a_server_that_asks_without_end_is_stopped(far: FarServer, url: str) -> None:
    far.never_content = True
    async with near_client(url, "legacy", "auto", elicitation_callback=answer_ada) as client:
        with anyio.fail_after(60), pytest.raises(MCPError, match="asked more than"):
            await client.call_tool("ask", {})


async def test_a_server_that_announces_nothing_is_asked_once(far: FarServer, url: str) -> None:
    far.announces = False
    async with near_client(url, "auto", "auto") as client, client.listen(resource_subscriptions=["far://x"]):
        with anyio.fail_after(60):
            while not far.asked("subscriptions/listen"):
                await anyio.sleep(0)
            await client.list_tools()
    assert len(far.asked("subscriptions/listen")) == 1


async def test_ten_megabytes_come_through_the_pipe_of_a_real_bridge(far: FarServer, url: str, tmp_path: Path) -> None:
    program = StdioServerParameters(
        command=sys.executable,
        args=["-m", "garrison.cli.main", "bridge", url, "--home", str(tmp_path)],
        env={name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH"}},
    )
    with anyio.fail_after(60):
        async with Client(program) as client:
            assert len(text(await client.call_tool("big", {"and": "x" * 1_000_000}))) == BIG
    assert len(far.asked("tools/call")[0]["arguments"]["and"]) == 1_000_000
