"""What stands before a body is bounded, in length and in time, by the server as it is served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from garrison.serving import Endpoint, bind, connection, running

seen: list[dict[bytes, bytes]] = []
GENEROUS = connection.Bounds()
GOOD = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


class SteppedClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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


async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers before it has read anything."""
    if scope["type"] == "lifespan":
        await app(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def opened(
    served: ASGIApp = app, bounds: connection.Bounds = GENEROUS
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    sockets = bind("server", "127.0.0.1", 0)
    async with running(Endpoint("server", served, sockets, bounds=bounds)):
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


CHUNKED = b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "chunk"),
    [(b"0\r\n", b"t: x\r\n" * 1000), (b"0\r\nt: ", b"x" * 8192), (b"1;", b"x" * 8192), (b"1\r\nx\r\n2;", b"x" * 8192)],
    ids=["many trailers", "one long trailer", "an extension", "an extension after a part of the body"],
)
async def test_what_is_neither_head_nor_body_does_not_go_on_for_ever(first: bytes, chunk: bytes) -> None:
    async with opened() as (_, writer):
        assert await flood(writer, CHUNKED + first, chunk, most=32_000_000) < 16_000_000


def head(size: int) -> bytes:
    """A good one of so many bytes."""
    begun = b"GET / HTTP/1.1\r\nhost: localhost\r\na: "
    return begun + b"x" * (size - len(begun) - 4) + b"\r\n\r\n"


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """Empty where the answer was lost, as it may be where the server closed before it had read everything."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


@pytest.mark.parametrize("size", [connection.HEAD_BYTES + 1, 100_000, 200_000])
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
async def test_a_head_that_is_too_long_is_refused_though_it_comes_at_once(size: int, *, first: bool) -> None:
    async with opened() as (reader, writer):
        if not first:
            writer.write(GOOD)
            await reader.readuntil(b"hello")
        seen.clear()
        writer.write(head(size))
        answer = await all_of(reader)
    assert answer.startswith(b"HTTP/1.1 431 ") or not answer
    assert seen == []


async def test_the_longest_head_passes_as_often_as_it_comes() -> None:
    longest = head(connection.HEAD_BYTES)
    async with opened() as (reader, writer):
        for _ in range(2):
            writer.write(longest)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        writer.write(longest * 2)
        for _ in range(2):
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_a_body_that_comes_after_the_longest_head_is_no_more_of_it() -> None:
    begun = b"POST / HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 1\r\na: "
    async with opened() as (reader, writer):
        writer.write(begun.ljust(connection.HEAD_BYTES - 4, b"x") + b"\r\n\r\n")
        await reader.readuntil(b"100 Continue\r\n\r\n")
        writer.write(b"x")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_a_request_right_behind_a_long_body_is_none_of_its_head() -> None:
    body = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000
    async with opened() as (reader, writer):
        for part in (body + GOOD[:20], GOOD[20:]):
            writer.write(part)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_a_trailer_is_no_header() -> None:
    """RFC 9110, section 6.5.1: a proxy that lets it through has not looked at it, as it has at headers."""
    async with opened() as (reader, writer):
        writer.write(CHUNKED + b"1\r\nx\r\n0\r\nx-forwarded-for: 192.0.2.1\r\n\r\n")
        await reader.readuntil(b"hello")
        assert seen.pop() == {b"host": b"localhost", b"transfer-encoding": b"chunked"}
        writer.write(GOOD)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_no_refusal_runs_into_an_answer_that_is_under_way() -> None:
    async def talking(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with opened(talking) as (reader, writer):
        writer.write(CHUNKED)
        await reader.readuntil(b"hello")
        trailers = b"0\r\nt: ".ljust(connection.HEAD_BYTES, b"x")
        writer.write(trailers)  # all of which the server has read when it closes, so that nothing it wrote is lost
        assert await all_of(reader) == b""


async def test_what_any_stranger_can_have_logged_is_logged_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SteppedClock()
    (seldom,) = connection._log.filters
    monkeypatch.setattr(seldom, "_next", 0.0)
    monkeypatch.setattr("garrison.serving.connection.monotonic", clock)
    upgrade = GOOD[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    async with opened() as (reader, writer):
        for _ in range(3):
            writer.write(upgrade)
            await reader.readuntil(b"hello")
        assert len(caplog.records) == 1
        clock.now += connection.WARNING_SECONDS
        writer.write(b"what?\r\n\r\n")
        assert b"400 " in await reader.read()
    assert [record.message for record in caplog.records] == [
        "Unsupported upgrade request.",
        "Invalid HTTP request received.",
    ]


async def test_what_an_app_raises_is_logged_each_time(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        raise LookupError

    for _ in range(2):
        async with opened(broken) as (reader, writer):
            writer.write(GOOD)
            assert b"500 " in await reader.read()
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [LookupError] * 2


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: loc", GOOD + b"G"])
async def test_a_head_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    async with opened() as (reader, writer):
        writer.write(sent)
        async with asyncio.timeout(60):
            answer = await reader.read()
    assert answer.endswith(b"connection: close\r\n\r\n")
    assert b"HTTP/1.1 408 " in answer


BEGUN = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n"


async def drip(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send `piece` again and again, slowly, until the server closes."""
    with suppress(ConnectionError):
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)


async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Return when the server has closed the connection, though `piece` drips."""
    task = asyncio.create_task(drip(writer, piece))
    try:
        async with asyncio.timeout(60):
            with suppress(ConnectionError):  # closed while we were sending
                await reader.read()
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("sent", [BEGUN, BEGUN + b"x"])
async def test_a_body_that_does_not_come_is_given_up(sent: bytes) -> None:
    async with opened(bounds=connection.Bounds(body_seconds=0.2)) as (reader, writer):
        writer.write(sent)
        async with asyncio.timeout(60):
            assert b"HTTP/1.1 408 " in await reader.read()


async def test_a_body_that_drips_for_ever_is_given_up() -> None:
    async with opened(bounds=connection.Bounds(body_seconds=0.2)) as (reader, writer):
        writer.write(BEGUN)
        await ended(reader, writer, b"x")


async def test_a_request_that_is_answered_already_can_not_drip_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.2)
    async with opened(hasty) as (reader, writer):
        writer.write(BEGUN)
        await reader.readuntil(b"hello")
        await ended(reader, writer, b"x")


async def test_whoever_still_sends_a_request_that_is_answered_keeps_the_connection() -> None:
    async with opened(hasty) as (reader, writer):
        for _ in range(2):
            writer.write(BEGUN)
            await reader.readuntil(b"hello")
            writer.write(b"x" * 100_000)


async def test_line_ends_between_requests_keep_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as (reader, writer):
        writer.write(GOOD)
        await reader.readuntil(b"hello")
        monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
        await ended(reader, writer, b"\r\n")


async def test_an_answer_may_take_longer_than_a_request() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            await asyncio.sleep(0.3)
        await (app if scope["type"] == "lifespan" else hasty)(scope, receive, send)

    async with opened(slow, connection.Bounds(body_seconds=0.05)) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_connections_beyond_the_bound_are_refused_until_one_has_gone() -> None:
    async with opened(bounds=connection.Bounds(connections=1)) as (reader, writer):
        writer.write(GOOD)
        await reader.readuntil(b"hello")
        address = writer.get_extra_info("peername")
        second, other = await asyncio.open_connection(*address)
        assert (await second.read()).startswith(b"HTTP/1.1 503 ")
        other.close()
        writer.write(GOOD)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
