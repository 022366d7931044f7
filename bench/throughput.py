"""Calls a second through real HTTP: `bare` and `app` of examples/guarded_fastmcp.py, each in a uvicorn process.

Beside them `bare` with its schemas known (as `protect` has it), and told who calls (bench/told.py), which no guard can
be cheaper than.

The load comes from this process, by a client of its own that does little: keep-alive connections, each with one call
under way at a time. Server and load have a core each on a machine of two. Rounds take turns.
"""

import asyncio
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bench.guard import issuer, request, token_for

from garrison.oauth import jwks

CONNECTIONS = 16
CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
ROUNDS = 5
ROOT = Path(__file__).parent.parent
SERVERS = {
    "bare": "examples.guarded_fastmcp:bare",
    "bare, knows its schemas": "bench.told:knowing",
    "the same, told who calls": "bench.told:app",
    "guard": "examples.guarded_fastmcp:app",
}
PLENTY = "1000000000"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.asynccontextmanager
async def server(app: str, issuer_url: str, home: str) -> AsyncIterator[int]:
    """`app`, served in a process of its own; the port."""
    port = free_port()
    environment = {
        **os.environ,
        "GARRISON_ISSUER": issuer_url,
        "GARRISON_RESOURCE": f"http://localhost:{port}/mcp",
        "GARRISON_HOME": home,
        "RATE_LIMIT_REQUESTS_PER_MINUTE": PLENTY,
        "RATE_LIMIT_TOKENS_PER_HOUR": PLENTY,
        "FASTMCP_LOG_ENABLED": "false",
    }
    command = ["-m", "uvicorn", app, "--port", str(port), "--log-level", "error"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--no-access-log", env=environment, cwd=ROOT
    )
    try:
        await until_it_listens(port)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def until_it_listens(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


def message(port: int, token: str) -> bytes:
    """A tools/call as it goes over the wire."""
    scope, body = request(token)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]} | {"host": f"localhost:{port}"}
    lines = ["POST /mcp HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


async def calls_a_second(port: int, token: str) -> float:
    sent = message(port, token)
    left = CALLS

    async def one_connection() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            writer.write(sent)
            await one_answer(reader)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    return CALLS / (time.perf_counter() - begun)


async def one_answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise SystemExit(f"answered {head.decode()}")
    if b"transfer-encoding: chunked" in head:
        body = await reader.readuntil(b"0\r\n\r\n")
    else:
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
    if b'"isError":true' in body:
        raise SystemExit(f"failed: {body.decode()}")


async def main() -> None:
    key = jwks.new_signing_key("RS256")
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(issuer(key))
        home = stack.enter_context(tempfile.TemporaryDirectory())
        ports = {name: await stack.enter_async_context(server(SERVERS[name], url, home)) for name in SERVERS}
        measured: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(ROUNDS):
            for name, port in ports.items():
                measured[name].append(await calls_a_second(port, token_for(key, url, f"http://localhost:{port}/mcp")))
    for name, rates in measured.items():
        ratio = statistics.median(rate / bare for rate, bare in zip(rates, measured["bare"], strict=True))
        print(f"{name:26}{statistics.median(rates):8.0f} calls a second{ratio:8.2f} of bare")


if __name__ == "__main__":
    asyncio.run(main())
