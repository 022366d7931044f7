"""What stands before a body is bounded, in length and in time, by the server as it is served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.types import Receive, Scope, Send

from garrison.serving import Endpoint, bind, connection, running

seen: list[dict[bytes, bytes]] = []
GOOD = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    seen.append(dict(scope["headers"]))
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    sockets = bind("server", "127.0.0.1", 0)
    async with running(Endpoint("server", app, sockets)):
        reader, writer = await asyncio.open_connection("127.0.0.1", sockets[0].getsockname()[1])
        try:
            yield reader, writer
        finally:
            writer.close()


async def flood(writer: asyncio.StreamWriter, first: bytes, chunk: bytes, most: int) -> int:
    """Send `first`, then `chunk` again and again until the server closes; how many bytes it took."""
    writer.write(first)
    sent = 0
    try:
        while sent < most:
            writer.write(chunk)
            await writer.drain()
            sent += len(chunk)
    except ConnectionError:
        pass
    return sent


async def test_an_ordinary_request_is_answered_and_the_connection_kept() -> None:
    async with opened() as (reader, writer):
        for _ in range(2):
            writer.write(GOOD)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("value", [b"a b", b"  a b", b"a b \t ", b"\t a b \t"])
async def test_white_space_around_a_headers_value_is_no_part_of_it(value: bytes) -> None:
    """RFC 9110, section 5.5; a name in Mcp-Name would otherwise not be the one in the body."""
    async with opened() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-name:%s\r\n\r\n" % value)
        await reader.readuntil(b"hello")
    assert seen.pop()[b"x-name"] == b"a b"


async def test_a_large_body_is_not_mistaken_for_a_large_head() -> None:
    async with opened() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("first", "chunk"),
    [
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 1000),
        (b"GET / HTTP/1.1\r\na: ", b"x" * 8192),
        (b"GET /", b"x" * 8192),
        (GOOD + b"GET / HTTP/1.1\r\na: ", b"x" * 8192),
    ],
    ids=["many headers", "one long header", "a long URL", "the second request"],
)
async def test_a_head_that_does_not_end_is_refused_early(first: bytes, chunk: bytes) -> None:
    async with opened() as (reader, writer):
        assert await flood(writer, first, chunk, most=32_000_000) < 16_000_000
        with suppress(ConnectionError):  # the answer may be lost: we were still sending when the server closed
            assert b"431 " in await reader.read() or not await reader.read()


async def test_endless_trailers_are_refused() -> None:
    head = b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    async with opened() as (_, writer):
        assert await flood(writer, head, b"t: x\r\n" * 1000, most=32_000_000) < 16_000_000


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: loc", GOOD + b"G"])
async def test_a_head_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    async with opened() as (reader, writer):
        writer.write(sent)
        async with asyncio.timeout(60):
            answer = await reader.read()
    assert answer.endswith(b"connection: close\r\n\r\n")
    assert b"HTTP/1.1 408 " in answer
