"""The stdio bridge before a protected server, launched as a program by the SDK's own stdio client, or in memory."""

import os
import sys
import time
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters

from garrison.clients.retry_after import Timing
from garrison.clients.tokens import MemoryTokens
from tests.clients.browser import Browser
from tests.clients.far_server import near_client
from tests.clients.world import World

ASK: tuple[str, dict[str, Any]] = ("get_customer_info", {"customer_id": "ABC123"})

PROGRAM = """
import os, sys, anyio
from garrison.clients.bridge import bridge
async def main():
    print("this must not reach the wire", file=sys.stderr)
    await bridge(os.environ["URL"], client_id=os.environ["ID"], client_secret=os.environ["SECRET"],
                 issuer=os.environ["ISSUER"], scope=os.environ.get("SCOPE"))
anyio.run(main)
"""


def program(world: World, **more: str) -> StdioServerParameters:
    client = world.client
    environment = {"URL": world.url, "ID": client["client_id"], "SECRET": client["client_secret"]}
    return StdioServerParameters(
        command=sys.executable,
        args=["-c", PROGRAM],
        env={**environment, "ISSUER": client["issuer"], "PATH": os.environ["PATH"], **more},
    )


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_local_program_uses_the_remote_server_without_a_token_of_its_own(world: World, mode: str) -> None:
    async with Client(program(world), mode=mode) as local:
        assert local.server_info
        assert local.server_info.name == "customers"
        assert local.server_capabilities.tools
        assert local.server_capabilities.completions is None
        tools = (await local.list_tools()).tools
        assert tools[0].name == "get_customer_info"
        result = await local.call_tool("get_customer_info", {"customer_id": "ABC123"})
        assert result.structured_content is not None
        assert result.structured_content["name"] == "Customer ABC123"
        assert [str(resource.uri) for resource in (await local.list_resources()).resources] == ["health://status"]
        assert (await local.read_resource("health://status")).contents
        assert (await local.list_prompts()).prompts == []
    assert len(world.issuer.forms) == 1


async def test_a_missing_permission_is_a_clear_error_of_that_call_alone(world: World) -> None:
    world.issuer.grants = frozenset({"customer:read"})
    async with Client(program(world, SCOPE="customer:read")) as local:
        with pytest.raises(MCPError, match="account:calculate"):
            await local.call_tool("calculate_account_value", {"customer_id": "ABC123", "amounts": [1]})
        assert not (await local.call_tool("get_customer_info", {"customer_id": "ABC123"})).is_error


async def test_a_session_that_is_made_anew_needs_no_new_token(world: World) -> None:
    breaks = iter([True])
    async with Client(program(world), cache=None) as local:
        world.gate.broken = lambda seen: seen.method == "tools/list" and next(breaks, False)
        assert (await local.list_tools()).tools
    assert [seen.method for seen in world.gate.seen].count("tools/list") == 2
    assert len(world.issuer.forms) == 1


@pytest.mark.parametrize("local", ["legacy", "auto"])
async def test_a_token_that_has_ended_is_refreshed_without_the_client_noticing(world: World, local: str) -> None:
    browser, ahead = Browser(), [0.0]
    world.issuer.clock = world.gate.clock = clock = lambda: time.time() + ahead[0]
    timing, storage = Timing(clock=clock), MemoryTokens()
    known = {"client_id": "cli", "login": browser.login(), "timing": timing, "storage": storage}
    async with near_client(world.url, local, "auto", connecting=known) as client:
        await client.list_tools()
        ahead[0] = 10.0 * world.issuer.lifetime  # a night
        assert not (await client.call_tool(*ASK)).is_error
    assert [form["grant_type"] for form in world.issuer.forms] == ["authorization_code", "refresh_token"]
    assert len(browser.urls) == 1


@pytest.mark.parametrize("local", ["legacy", "auto"])
async def test_a_401_is_never_swallowed_on_the_way(world: World, local: str) -> None:
    """mcp-remote's users saw nothing at all: neither an answer nor an error."""
    async with near_client(world.url, local, "auto", connecting=world.client) as client:
        world.gate.forced = lambda seen: (401, {}) if seen.tool else None
        with anyio.fail_after(60), pytest.raises(MCPError, match="refuses even a new token"):
            await client.call_tool(*ASK)
        world.gate.forced = lambda seen: None
        assert not (await client.call_tool(*ASK)).is_error


async def test_a_server_that_refuses_resource_is_got_along_with_by_a_switch(world: World) -> None:
    """Entra: AADSTS9010010 for `resource` beside scopes, at both endpoints."""
    world.issuer.default_audience = world.url
    world.issuer.refuses_resource = True
    known = {"client_id": "cli", "login": Browser().login()}
    with pytest.raises(ExceptionGroup) as refused:
        async with near_client(world.url, "auto", "auto", connecting=known):
            pass
    assert refused.group_contains(MCPError, match="AADSTS9010010")
    assert len(world.issuer.authorize_queries) == 1  # nobody has to log in twice to read it
    async with near_client(world.url, "auto", "auto", connecting={**known, "omit_resource": True}) as client:
        assert not (await client.call_tool(*ASK)).is_error
