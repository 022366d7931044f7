"""Streams of the old era that a client takes up again: by an event's id nobody gets what was another's."""

import httpx2
import pytest
from mcp.server.mcpserver import MCPServer
from starlette.types import ASGIApp

from tests.conformance.server import Kept
from tests.guard.world import World, call, free_listener, legacy, serving

VERSION = "2025-11-25"
HELLO = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}


def resumable() -> ASGIApp:
    """An SDK server that keeps what it sent, all sessions' together, under numbers that anybody can guess."""
    server = MCPServer("resumable", log_level="CRITICAL")

    @server.tool()
    def get_customer_info(customer_id: str) -> str:
        return f"the secret of {customer_id}"

    return server.streamable_http_app(event_store=Kept(), host="localhost")


async def opened(client: httpx2.AsyncClient) -> None:
    """A session of the caller of `client`, which bears its id from here on."""
    answer = await client.post("/mcp", **legacy("initialize", HELLO))
    client.headers.update({"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": VERSION})
    client.headers["accept"] = "application/json, text/event-stream"
    await client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})


def ids(stream: str) -> list[str]:
    return [line[4:] for line in stream.splitlines() if line.startswith("id: ")]


@pytest.mark.anyio
async def test_only_the_caller_whose_stream_it_was_takes_it_up_again(world: World) -> None:
    listener = free_listener()
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def client(token: str) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {token}", "host": "localhost:8000"}
        return httpx2.AsyncClient(base_url=base, headers=headers, timeout=60)

    async with (
        serving(world.guard(resumable()), listener),
        client(world.mint()) as alice,
        client(world.mint("", subject="mallory", client_id="evil")) as mallory,
    ):
        await opened(alice)
        first, *_ = ids((await alice.post("/mcp", json=call()["json"])).text)
        await opened(mallory)
        for stolen in (first, first.partition(".")[0], "0", "1", "2", ""):
            answer = await mallory.get("/mcp", headers={"last-event-id": stolen})
            assert (answer.status_code, "secret" in answer.text) == (404, False), stolen
        async with alice.stream("GET", "/mcp", headers={"last-event-id": first}) as again:
            told = b""
            async for part in again.aiter_bytes():
                told += part
                if b"the secret of ABC123" in told:
                    break
    assert again.status_code == 200
    assert b"the secret of ABC123" in told


@pytest.mark.anyio
async def test_a_stream_is_taken_up_by_no_lesser_token_of_its_caller_and_by_a_greater_one(world: World) -> None:
    """Whoever was given a lesser token was not given what the greater one opened."""
    listener = free_listener()
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async with serving(world.guard(resumable()), listener), httpx2.AsyncClient(base_url=base, timeout=60) as client:

        def bear(scope: str) -> None:
            client.headers.update({"authorization": f"Bearer {world.mint(scope)}", "host": "localhost:8000"})

        bear("customer:read security:read")
        await opened(client)
        first, *_ = ids((await client.post("/mcp", json=call()["json"])).text)
        for lesser in ("", "customer:read", "security:read other", "customer:read ticket:create"):
            bear(lesser)
            async with client.stream("GET", "/mcp", headers={"last-event-id": first}) as answer:
                assert answer.status_code == 404, lesser
        bear("ticket:create security:read customer:read")
        async with client.stream("GET", "/mcp", headers={"last-event-id": first}) as again:
            assert again.status_code == 200


async def test_two_event_ids_are_none(world: World) -> None:
    headers = [("last-event-id", "1"), ("last-event-id", "2"), ("accept", "text/event-stream")]
    assert (await world.client().get("/mcp", headers=headers)).status_code == 400
