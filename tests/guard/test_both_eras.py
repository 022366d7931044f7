"""A real FastMCP server behind the guard, by real HTTP, with the SDK's own client in every mode that it has."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import get_access_token
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token as sdk_access_token
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    TextContent,
)
from starlette.types import ASGIApp

from garrison.base.events import Kind
from garrison.limits.tokens import estimate_tokens
from tests.guard.world import MODERN, World, free_listener, legacy, modern, serving

MODES = pytest.mark.parametrize("mode", ["legacy", "auto", MODERN])
ANSWERS = pytest.mark.parametrize("json_response", [False, True])


def server() -> FastMCP:
    mcp = FastMCP("demo")

    @mcp.tool
    def get_customer_info(customer_id: str) -> dict[str, str]:
        return {"customer_id": customer_id}

    @mcp.tool
    def whoami() -> dict[str, Any]:
        token, same = get_access_token(), sdk_access_token()
        assert token
        assert same
        return {"subject": token.subject, "client": same.client_id, "scopes": token.scopes, "token": token.token}

    @mcp.tool
    async def forbidden(context: Context) -> str:
        return "must never be reached"

    @mcp.resource("health://status")
    def status() -> str:
        return "ok"

    @mcp.prompt
    def greet() -> str:
        return "hello"

    return mcp


@asynccontextmanager
async def guarded(world: World, app: ASGIApp, **changes: Any) -> AsyncIterator[str]:
    """`app` behind a guard, served by uvicorn; gives the address of its MCP endpoint."""
    listener = free_listener()
    url = f"http://localhost:{listener.getsockname()[1]}/mcp"
    async with serving(world.guard(app, resource=url, **changes), listener):
        yield url


@asynccontextmanager
async def connected(
    world: World, url: str, mode: Any, scope: str = "customer:read", **claims: Any
) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {world.mint(scope, audience=url, **claims)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=10) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@MODES
@ANSWERS
async def test_an_allowed_caller_uses_tools_resources_and_prompts(world: World, mode: str, json_response: bool) -> None:
    app = server().http_app(path="/mcp", json_response=json_response)
    async with guarded(world, app) as url, connected(world, url, mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} >= {"get_customer_info", "whoami"}
        result = await client.call_tool("get_customer_info", {"customer_id": "ABC123"})
        assert result.structured_content == {"customer_id": "ABC123"}
        assert "ok" in str(await client.read_resource("health://status"))
        assert "hello" in str(await client.get_prompt("greet"))


@MODES
@ANSWERS
async def test_a_tool_knows_who_calls_it_in_the_way_of_the_sdk_and_of_fastmcp(
    world: World, mode: str, json_response: bool
) -> None:
    app = server().http_app(path="/mcp", json_response=json_response)
    async with guarded(world, app) as url, connected(world, url, mode) as client:
        seen = (await client.call_tool("whoami")).structured_content
        assert (seen["subject"], seen["client"], seen["scopes"]) == ("alice", "desk", ["customer:read"])
        assert "." not in seen["token"]


@ANSWERS
@pytest.mark.parametrize("era", [legacy, modern])
async def test_a_result_that_is_said_as_text_and_as_structure_is_charged_once(
    world: World, era: Any, json_response: bool
) -> None:
    mcp = FastMCP("demo")
    notes = "many words about a customer " * 100

    @mcp.tool
    def get_customer_info(customer_id: str) -> dict[str, str]:
        return {customer_id: notes}

    app = mcp.http_app(path="/mcp", json_response=json_response, stateless_http=True)
    request = era("tools/call", {"name": "get_customer_info", "arguments": {"customer_id": "ABC123"}})
    async with guarded(world, app) as url:
        headers = {"authorization": f"Bearer {world.mint(audience=url)}"}
        async with httpx2.AsyncClient(headers=headers, timeout=10) as http:
            first = await http.post(url, **request)
            await world.events.next_of(Kind.CALL_FINISHED)
            second = await http.post(url, **request)
    left = [int(each.headers["ratelimit"].rpartition("=")[2]) for each in (first, second)]
    assert first.text.count(notes) == 2
    assert estimate_tokens(notes) <= left[0] - left[1] <= estimate_tokens(notes) * 1.2


@MODES
async def test_an_unknown_tool_is_denied_by_the_guard(world: World, mode: str) -> None:
    async with guarded(world, server().http_app(path="/mcp")) as url, connected(world, url, mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("forbidden")
        assert caught.value.error.code == -32003


@MODES
async def test_missing_scope_is_an_http_403_and_not_a_tool_result(world: World, mode: str) -> None:
    async with (
        guarded(world, server().http_app(path="/mcp")) as url,
        connected(world, url, mode, "ticket:create") as client,
    ):
        with pytest.raises(MCPError) as caught:
            await client.call_tool("get_customer_info", {"customer_id": "ABC123"})
        assert caught.value.error.data == {"error": "insufficient_scope", "scope": "customer:read"}


@MODES
async def test_a_model_reads_what_was_wrong_with_its_arguments(world: World, mode: str) -> None:
    async with guarded(world, server().http_app(path="/mcp")) as url, connected(world, url, mode) as client:
        result = await client.call_tool("get_customer_info", {"customer_id": "'; DROP TABLE customers"})
        assert result.is_error
        assert isinstance(result.content[0], TextContent)
        assert "customer_id" in result.content[0].text


@MODES
async def test_a_server_of_the_sdk_alone_works_the_same(world: World, mode: str) -> None:
    mcp = MCPServer("plain", log_level="ERROR")

    @mcp.tool(name="whoami", structured_output=False)
    def subject() -> str:
        token = sdk_access_token()
        return str(token and token.subject)

    async with guarded(world, mcp.streamable_http_app()) as url, connected(world, url, mode) as client:
        assert "alice" in str(await client.call_tool("whoami"))


def test_the_guard_needs_no_fastmcp() -> None:
    script = "import sys, garrison.guard.guard; sys.exit('fastmcp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


async def test_a_real_session_cannot_be_taken_over(world: World) -> None:
    """Neither by a stranger's token, nor with the app's own id, which never leaves the guard."""
    async with guarded(world, server().http_app(path="/mcp", json_response=True)) as url:

        async def as_(subject: str, session: str | None, method: str = "POST", body: Any = None) -> httpx2.Response:
            headers = {
                "authorization": f"Bearer {world.mint(audience=url, subject=subject)}",
                "accept": "application/json, text/event-stream",
                **({"mcp-session-id": session} if session else {}),
            }
            async with httpx2.AsyncClient(headers=headers) as http:
                return await http.request(method, url, **({"json": body} if body else {}))

        hello = legacy(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
        )["json"]
        session = (await as_("alice", None, body=hello)).headers["mcp-session-id"]
        ping = legacy("ping")["json"]
        assert (await as_("alice", session, body=ping)).json()["result"] == {}
        for thief in (session, session.rpartition(".")[0]):
            for method in ("POST", "GET", "DELETE"):
                stolen = await as_("bob", thief, method, ping if method == "POST" else None)
                assert stolen.status_code == 404
        assert (await as_("alice", session, body=ping)).status_code == 200
        assert (await as_("alice", session, "DELETE")).status_code == 200
        assert (await as_("alice", session, body=ping)).status_code == 404


async def test_two_callers_with_one_request_id_get_their_own_answers(world: World) -> None:
    async with guarded(world, server().http_app(path="/mcp", stateless_http=True)) as url:
        answers: dict[str, str] = {}

        async def ask(subject: str) -> None:
            async with connected(world, url, "legacy", subject=subject) as client:
                for _ in range(3):
                    answers[subject] = (await client.call_tool("whoami")).structured_content["subject"]

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(ask, f"user{number}")
        assert answers == {f"user{number}": f"user{number}" for number in range(5)}


async def test_an_older_version_of_a_tool_cannot_be_picked_past_the_policy(world: World) -> None:
    mcp = FastMCP("versions")

    @mcp.tool(name="whoami", version="1")
    def old() -> str:
        return "old"

    @mcp.tool(name="whoami", version="2")
    def new() -> str:
        return "new"

    async with (
        guarded(world, mcp.http_app(path="/mcp")) as url,
        connected(world, url, "legacy") as client,
    ):
        assert "new" in str(await client.call_tool("whoami"))
        with pytest.raises(MCPError, match="version"):
            await client.call_tool("whoami", meta={"fastmcp": {"version": "1"}})  # type: ignore[arg-type]  # FastMCP's key


def asking() -> FastMCP:
    """A server whose tool asks back, keeping its state with the client (requestState)."""
    mcp = FastMCP("asking")

    @mcp.tool(name="whoami")
    async def asks(context: Context) -> CallToolResult | InputRequiredResult:
        if context.request_state:
            return CallToolResult(content=[TextContent(text=f"state {context.request_state}")])
        form = ElicitRequestFormParams(message="sure?", requested_schema={"type": "object", "properties": {}})
        return InputRequiredResult(input_requests={"a": ElicitRequest(params=form)}, request_state="mine")

    return mcp


async def test_state_that_the_client_keeps_is_worth_something_to_its_caller_only(world: World) -> None:
    """The SDK seals requestState for the principal that the guard tells it."""
    async with guarded(world, asking().http_app(path="/mcp", json_response=True)) as url:

        async def as_(subject: str, state: str | None) -> dict[str, Any]:
            meta = {PROTOCOL_VERSION_META_KEY: MODERN, CLIENT_CAPABILITIES_META_KEY: {"elicitation": {"form": {}}}}
            request = modern("tools/call", {"name": "whoami", "arguments": {}})
            request["json"]["params"]["_meta"] = meta
            if state:
                answers = {"a": {"action": "accept", "content": {}}}
                request["json"]["params"] |= {"requestState": state, "inputResponses": answers}
            headers = {**request["headers"], "authorization": f"Bearer {world.mint(audience=url, subject=subject)}"}
            async with httpx2.AsyncClient(headers=headers) as http:
                return dict((await http.post(url, json=request["json"])).json())

        state = (await as_("alice", None))["result"]["requestState"]
        assert state != "mine"
        assert "state mine" in json.dumps(await as_("alice", state))
        assert "error" in await as_("bob", state)
        middle = len(state) // 2
        changed = state[:middle] + ("A" if state[middle] != "A" else "B") + state[middle + 1 :]
        assert "error" in await as_("alice", changed)
