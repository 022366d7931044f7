"""Answers that stream, connections that break, and bytes that no client library would send."""

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx2
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from garrison.base.events import Kind
from garrison.base.peers import Peers
from garrison.guard import authenticate, introspect, verify
from garrison.guard.issuers import Introspection, Issuer
from garrison.guard.types import Caller, Request
from garrison.guard.verify import LEEWAY
from tests.guard.world import World, asgi, call, free_listener, living, modern, serving

STREAMS = pytest.mark.parametrize(
    ("method", "request_"),
    [("GET", {}), ("POST", modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}))],
    ids=["GET", "listen"],
)
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


@asynccontextmanager
async def guarded(world: World, app: ASGIApp, **changes: Any) -> AsyncIterator[str]:
    """`app` behind a guard, served by uvicorn; gives the address of its MCP endpoint."""
    listener = free_listener()
    url = f"http://localhost:{listener.getsockname()[1]}/mcp"

    async with serving(world.guard(living(app), resource=url, **changes), listener):
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
        with anyio.fail_after(60):
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
        with anyio.fail_after(60):
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


@STREAMS
async def test_a_stream_of_notifications_ends_with_its_token(
    world: World, method: str, request_: dict[str, Any]
) -> None:
    async with guarded(world, waits_for_the_end) as url, last_moments(world, url) as client:
        with anyio.fail_after(60):
            response = await client.request(method, url, **request_)
        assert response.text == "data: 1\n\n"
        assert (await world.events.next_of(Kind.CALL_FINISHED)).reason == ""


def noted_leases(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What every lease that is asked for from now on turns out to be."""
    leases, original = list[float](), authenticate.Authenticator.lease

    async def lease(self: authenticate.Authenticator, request: Request, caller: Caller) -> float:
        leases.append(await original(self, request, caller))
        return leases[-1]

    monkeypatch.setattr(authenticate.Authenticator, "lease", lease)
    return leases


@STREAMS
async def test_a_stream_of_notifications_ends_soon_after_its_token_was_revoked(
    world: World, method: str, request_: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "REVOKED_WITHIN", 60.1)
    monkeypatch.setattr(authenticate, "RENEWED_BEFORE", 60)  # so that the stream asks ten times a second, and patiently
    monkeypatch.setattr(introspect, "ANSWER_WITHIN", 60)
    leases = noted_leases(monkeypatch)
    issuer = Issuer(world.issuer.url, introspection=Introspection("guard", "secret"))
    async with guarded(world, waits_for_the_end, issuer=issuer) as url, httpx2.AsyncClient() as client:
        token = world.mint(audience=url)
        world.issuer.describe(token, aud=url)
        client.headers["authorization"] = f"Bearer {token}"
        with anyio.fail_after(60):
            async with client.stream(method, url, **request_) as response:
                chunks = response.aiter_raw()
                assert await anext(chunks) == b"data: 1\n\n"
                for times in (2, 3):  # it is asked about again, and stays open while it is good
                    before = len(leases)
                    world.clock.now += 60.1
                    while len(leases) == before:
                        await anyio.sleep(0.005)
                    assert len(world.issuer.introspected) == times
                assert Kind.CALL_FINISHED not in world.events.kinds()
                del world.issuer.alive[token]
                world.clock.now += 60.1
                assert [chunk async for chunk in chunks] == []
        assert (await world.events.next_of(Kind.CALL_FINISHED)).reason == ""


async def test_an_open_stream_asks_early_enough_to_end_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < authenticate.RENEWED_BEFORE < verify.REVOKED_WITHIN
    monkeypatch.setattr(verify, "REVOKED_WITHIN", 65)
    monkeypatch.setattr(authenticate, "RENEWED_BEFORE", 60)
    monkeypatch.setattr(introspect, "ANSWER_WITHIN", 60)
    world.issuer.describe(token := world.mint())
    lease = await leased(world, token)
    for passed, times, expected in [(0, 1, 5), (1, 1, 4), (3.5, 1, 0.5), (0.5, 2, 5), (100, 3, 5)]:
        world.clock.now += passed
        assert await lease() == expected
        assert len(world.issuer.introspected) == times
    del world.issuer.alive[token]
    world.clock.now += 5
    assert await lease() == 0


async def leased(world: World, token: str) -> Callable[[], Awaitable[float]]:
    """The lease of a stream that is open for the bearer of `token`."""
    guard = world.guard(issuer=Issuer(world.issuer.url, introspection=Introspection("guard", "secret")))
    headers = [(b"authorization", f"Bearer {token}".encode())]
    request = Request.of({"type": "http", "method": "GET", "path": "/mcp", "headers": headers}, Peers())
    return partial(guard._authenticate.lease, request, await guard._authenticate(request))


async def test_an_open_stream_of_a_jwt_needs_no_more_than_that_it_is_active(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspect, "ANSWER_WITHIN", 60)
    world.issuer.alive[token := world.mint()] = {"active": True}
    lease = await leased(world, token)
    world.clock.now += verify.REVOKED_WITHIN
    monkeypatch.setattr(verify, "REVOKED_WITHIN", 70)
    monkeypatch.setattr(authenticate, "RENEWED_BEFORE", 67)
    assert await lease() > 0
    assert len(world.issuer.introspected) == 2


async def test_an_open_stream_of_an_opaque_token_lives_by_the_last_answer_alone(world: World) -> None:
    world.issuer.describe("opaque")
    lease = await leased(world, "opaque")
    assert await lease() > 0
    world.issuer.describe("opaque", aud=None)
    world.clock.now += verify.REVOKED_WITHIN
    assert await lease() == 0


@pytest.mark.parametrize("opaque", [True, False], ids=["opaque", "JWT"])
async def test_an_open_stream_ends_when_the_issuer_does_not_answer_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch, *, opaque: bool
) -> None:
    monkeypatch.setattr(introspect, "ANSWER_WITHIN", 60)
    world.issuer.describe(token := "opaque" if opaque else world.mint())
    lease = await leased(world, token)
    monkeypatch.setattr(authenticate, "RENEWED_BEFORE", 0.05)
    world.issuer.held = threading.Event()
    world.clock.now += verify.REVOKED_WITHIN
    with anyio.fail_after(60):
        assert await lease() == 0
    world.issuer.held.set()
    monkeypatch.setattr(authenticate, "RENEWED_BEFORE", 4)
    assert await lease() > 0


async def test_a_stream_that_never_began_has_no_end(world: World) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert [(await receive())["type"], (await receive())["type"]] == ["http.request", "http.disconnect"]

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
    with anyio.fail_after(60):
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
