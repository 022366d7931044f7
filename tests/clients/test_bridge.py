"""The stdio bridge, launched as a program by the SDK's own stdio client."""

import os
import sys

import pytest
from mcp import Client, MCPError, StdioServerParameters

from tests.clients.world import World

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
