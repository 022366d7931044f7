"""THREATS 20 (CVE-2026-25536): callers who ask at once, each with the same JSON-RPC id, get their own answers."""

from typing import Any

import anyio
import httpx2
import pytest
from fastmcp import FastMCP
from fastmcp.server.dependencies import get_access_token

from tests.guard.test_both_eras import guarded
from tests.guard.world import World, legacy, modern

CALLERS = 6


class Meeting:
    """A tool that answers only when all have asked."""

    def __init__(self) -> None:
        self.there = 0
        self.all_there = anyio.Event()

    async def whoami(self) -> str:
        token = get_access_token()
        assert token
        self.there += 1
        if self.there == CALLERS:
            self.all_there.set()
        await self.all_there.wait()
        return f"<{token.subject}>"


@pytest.mark.parametrize("json_response", [False, True], ids=["events", "json"])
@pytest.mark.parametrize("era", ["stateless", "sessions", "modern"])
async def test_callers_with_one_request_id_at_once_get_their_own_answers(
    world: World, era: str, json_response: bool
) -> None:
    mcp: FastMCP[Any] = FastMCP("meeting")
    mcp.tool(Meeting().whoami)
    app = mcp.http_app(path="/mcp", json_response=json_response, stateless_http=era == "stateless")
    answers: dict[str, str] = {}

    async def ask(url: str, subject: str) -> None:
        headers = {"authorization": f"Bearer {world.mint(audience=url, subject=subject)}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
            request = (modern if era == "modern" else legacy)("tools/call", {"name": "whoami", "arguments": {}})
            if era == "sessions":
                request["headers"] |= await opened(http, url)
            answers[subject] = (await http.post(url, **request)).text

    async with guarded(world, app) as url:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for number in range(CALLERS):
                    tasks.start_soon(ask, url, f"user{number}")
    assert len(answers) == CALLERS
    for subject, text in answers.items():
        assert f"<{subject}>" in text
        assert sum(f"<user{number}>" in text for number in range(CALLERS)) == 1


async def opened(http: httpx2.AsyncClient, url: str) -> dict[str, str]:
    """The headers of a session of one's own."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    response = await http.post(url, **legacy("initialize", hello))
    session = {"mcp-session-id": response.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    accept = {"accept": "application/json, text/event-stream", **session}
    await http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=accept)
    return session
