"""A reverse proxy on loopback that adds an access token to every request, and changes nothing else.

Bytes are passed on as they come, both ways: what the suite sees is what the guarded server sent, and when.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from garrison.serving import bind

CHUNK = 65_536


@asynccontextmanager
async def adding_token(port: int, upstream: str, token: str) -> AsyncIterator[None]:
    """Listens on `port` of localhost; `upstream` is `host:port`."""
    host, _, upstream_port = upstream.partition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(upstream_port))
        requests = _until_gone(_pass_requests(reader, far_writer, token))
        answers = _until_gone(_pass(far_reader, writer))
        tasks = [asyncio.ensure_future(requests), asyncio.ensure_future(answers)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for stream in (writer, far_writer):
                stream.close()

    servers = [await asyncio.start_server(serve, sock=bound) for bound in bind("proxy", "localhost", port)]
    try:
        yield
    finally:
        for server in servers:
            server.close()


async def _until_gone(passing: Awaitable[None]) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await passing


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK):
        sink.write(chunk)
        await sink.drain()


async def _pass_requests(source: asyncio.StreamReader, sink: asyncio.StreamWriter, token: str) -> None:
    while True:
        head = await source.readuntil(b"\r\n\r\n")
        first, _, headers = head.partition(b"\r\n")
        sink.write(first + f"\r\nauthorization: Bearer {token}\r\n".encode() + headers)
        await _pass_body(headers.lower(), source, sink)


async def _pass_body(headers: bytes, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    lines = dict(line.split(b":", 1) for line in headers.split(b"\r\n") if line)
    if b"chunked" in lines.get(b"transfer-encoding", b""):
        size = 1
        while size:
            line = await source.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            sink.write(line + await source.readexactly(size + 2))
    elif length := int(lines.get(b"content-length", b"0")):
        sink.write(await source.readexactly(length))
    await sink.drain()
