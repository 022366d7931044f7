"""THREATS 16: a guarded server that asks another server in turn does not hand the caller's token on."""

import json
from typing import Any

from fastmcp import FastMCP
from fastmcp.server import create_proxy
from fastmcp.server.dependencies import get_http_headers

from tests.guard.test_both_eras import MODES, connected, guarded
from tests.guard.world import World, free_listener, serving


async def seen_upstream(world: World, mode: str, *, is_guarded: bool) -> str:
    """Every header of the call that arrives at a server behind FastMCP's proxy, which forwards what it gets."""
    upstream: FastMCP[Any] = FastMCP("upstream")

    @upstream.tool
    def whoami() -> dict[str, str]:
        return get_http_headers(include_all=True)

    listener = free_listener()
    behind = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    async with serving(upstream.http_app(path="/mcp"), listener):
        app = create_proxy(behind, name="gateway").http_app(path="/mcp")
        if is_guarded:
            async with guarded(world, app) as url, connected(world, url, mode) as client:
                return json.dumps((await client.call_tool("whoami")).structured_content)
        bare = free_listener()
        url = f"http://localhost:{bare.getsockname()[1]}/mcp"
        async with serving(app, bare), connected(world, url, mode) as client:
            return json.dumps((await client.call_tool("whoami")).structured_content)


@MODES
async def test_nothing_of_the_callers_token_goes_upstream(world: World, mode: str) -> None:
    assert "Bearer " in await seen_upstream(world, mode, is_guarded=False)  # what the guard is there to stop
    seen = await seen_upstream(world, mode, is_guarded=True)
    assert "user-agent" in seen
    assert "authorization" not in seen.lower()
    assert "bearer" not in seen.lower()
