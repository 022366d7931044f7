"""Answers that stream, connections that break, and bytes that no client library would send."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from garrison.base.events import Kind
from garrison.guard.authenticate import LEEWAY
from tests.guard.world import World, asgi, call, free_listener, living, modern, serving

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


@asynccontextmanager
async def guarded(world: World, app: ASGIApp) -> AsyncIterator[str]:
    """`app` behind a guard, served by uvicorn; gives the address of its MCP endpoint."""
    listener = free_listener()
    url = f"http://localhost:{listener.getsockname()[1]}/mcp"

    async with serving(world.guard(living(app), resource=url), listener):
        yield url


@asynccontextmanager
async def http_client(world: World, url: str, **claims: Any) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {world.mint(audience=url, **claims)}"}) as client:
        yield client


async def test_an_answer_is_passed_on_as_it_comes(world: World) -> None:
    first_was_read = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await first_was_read.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    async with guarded(world, app) as url, http_client(world, url) as client:
        with anyio.fail_after(5):
            async with client.stream("POST", url, **call()) as response:
                chunks = response.aiter_raw()
                assert await anext(chunks) == b"data: 1\n\n"
                first_was_read.set()
                assert await anext(chunks) == b"data: 2\n\n"
        assert (await world.events.next_of(Kind.CALL_FINISHED)).detail["bytes"] == 18


async def test_the_app_learns_that_its_client_has_gone(world: World) -> None:
    gone = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async with guarded(world, app) as url:
        async with http_client(world, url) as client, client.stream("POST", url, **call()) as response:
            await anext(response.aiter_raw())
        with anyio.fail_after(5):
            await gone.wait()
        await world.events.next_of(Kind.CALL_FINISHED)


def last_moments(world: World, url: str) -> AbstractAsyncContextManager[httpx2.AsyncClient]:
    """A client whose token is good for another tenth of a second."""
    world.clock.now += 0.9
    return http_client(world, url, now=world.clock() - LEEWAY, lifetime=1)


async def waits_for_the_end(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.parametrize(
    ("method", "request_"),
    [("GET", {}), ("POST", modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}))],
    ids=["GET", "listen"],
)
async def test_a_stream_of_notifications_ends_with_its_token(
    world: World, method: str, request_: dict[str, Any]
) -> None:
    async with guarded(world, waits_for_the_end) as url, last_moments(world, url) as client:
        with anyio.fail_after(5):
            response = await client.request(method, url, **request_)
        assert response.text == "data: 1\n\n"
        assert (await world.events.next_of(Kind.CALL_FINISHED)).reason == ""


async def test_a_stream_that_never_began_has_no_end(world: World) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.disconnect"

    world.clock.now += 0.9
    token = world.mint(now=world.clock() - LEEWAY, lifetime=1)
    headers = [(b"host", b"localhost:8000"), (b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/mcp", "query_string": b"", "headers": headers}
    assert await asgi(world.guard(app), scope, []) == []


async def test_an_answer_that_the_app_broke_off_is_not_made_to_look_whole(world: World) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"data: half", "more_body": True})

    headers = [(b"host", b"localhost:8000"), (b"authorization", f"Bearer {world.mint()}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/mcp", "query_string": b"", "headers": headers}
    sent = await asgi(world.guard(app), scope, [])
    assert [message.get("more_body") for message in sent] == [None, True]


async def test_an_answer_to_a_question_does_not_end_with_the_token_that_asked(world: World) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with anyio.move_on_after(0.3):
            await receive()
            return
        await send(START)
        await send({"type": "http.response.body", "body": b"data: late\n\n"})

    async with guarded(world, app) as url, last_moments(world, url) as client:
        assert (await client.post(url, **call())).text == "data: late\n\n"


async def exchange(url: str, head: str) -> str:
    """What the server answers to these very bytes."""
    host, _, port = url.split("/")[2].partition(":")
    with anyio.fail_after(5):
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
            return b"".join([chunk async for chunk in stream]).decode("latin-1")


UPGRADE = """GET /mcp HTTP/1.1
Host: {host}
Connection: Upgrade
Upgrade: websocket
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Origin: http://evil.example"""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /mcp HTTP/1.1\nHost: {host}/x?y", 421),
        ("GET /mcp HTTP/1.1\nHost: {host}@evil.example", 421),
        ("GET /mcp HTTP/1.1\nHost: evil.example", 421),
        ("GET http://evil.example/mcp HTTP/1.1\nHost: evil.example", 421),
        ("GET /mcp HTTP/1.1\nHost: {host}\nHost: evil.example", 400),
        ("GET /mcp HTTP/1.0", 400),
        ("GET /mcp/../admin HTTP/1.1\nHost: {host}", 404),
        ("GET /admin HTTP/1.1\nHost: {host}", 404),
        ("GET /mcp%2f..%2fadmin HTTP/1.1\nHost: {host}", 404),
        ("GET /mcp HTTP/1.1\nHost: {host}\nOrigin: http://evil.example", 403),
        ("GET /mcp HTTP/1.1\nHost: {host}\nAuthorization: Bearer x\nAuthorization: Bearer y", 400),
        ("GET /mcp HTTP/1.1\nHost: {host}", 401),
        ("GET /mcp HTTP/1.1\nHost: {host}\nX-User: admin\nX-Forwarded-User: admin\nCookie: session=1", 401),
        (UPGRADE, 403),
        ("POST /mcp HTTP/1.1\nHost: {host}\nContent-Type: application/json\nContent-Length: 104857600", 413),
    ],
)
async def test_bytes_that_no_client_would_send_open_nothing(world: World, head: str, status: int) -> None:
    async with guarded(world, world.app) as url:
        close = "" if head is UPGRADE else "\nConnection: close"
        answer = await exchange(url, head.format(host=url.split("/")[2]) + close)
    assert answer.startswith(f"HTTP/1.1 {status} "), answer
    assert world.app.scopes == []
