"""THREATS 25: large and slow bodies cost a guarded server no memory to speak of, and it goes on serving."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream

from garrison.serving import free_port
from tests.guard.world import IssuerHost, World, call

ROOT = Path(__file__).parents[2]
MEGABYTE = 1 << 20
BODY = 100 * MEGABYTE
BOUND = 24 * MEGABYTE
"""Bytes that an attack may add to the most that the server ever held; one body of BODY would be four times that."""
PIECE = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
SLOW = 200

pytestmark = pytest.mark.xdist_group("exhaustion")


class Target:
    """The server under attack, a caller whom it knows, and another."""

    def __init__(self, process_id: int, resource: str, token: str, other: str) -> None:
        self._process_id = process_id
        self.address = resource.split("/")[2]
        self.token = token
        self.other = other

    def peak(self) -> int:
        """The most memory that the process ever held, in bytes."""
        status = Path(f"/proc/{self._process_id}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def head(self, *lines: str, token: str | None = None) -> bytes:
        authorization = [] if token is None else [f"Authorization: Bearer {token}"]
        start = ["POST /mcp HTTP/1.1", f"Host: {self.address}", "Content-Type: application/json"]
        return "\r\n".join([*start, *authorization, *lines, "", ""]).encode()

    async def connect(self) -> SocketStream:
        host, _, port = self.address.partition(":")
        return await anyio.connect_tcp(host, int(port))

    async def pour(self, head: bytes, piece: bytes, size: int = BODY) -> bytes:
        """What is answered to `head` and then as much of `size` bytes as the server takes."""
        answer = bytearray()
        async with await self.connect() as stream, anyio.create_task_group() as tasks:

            async def read() -> None:
                try:
                    async for chunk in stream:
                        answer.extend(chunk)
                except anyio.BrokenResourceError:
                    pass  # it was cut off while we still talked
                tasks.cancel_scope.cancel()

            tasks.start_soon(read)
            try:
                await stream.send(head)
                for _ in range(size // len(piece)):
                    await stream.send(piece)
                await stream.send_eof()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
        return bytes(answer)

    async def serves(self) -> bool:
        """Whether a good call is still answered."""
        body = json.dumps(call()["json"]).encode()
        head = self.head(f"Content-Length: {len(body)}", "Connection: close", token=self.token)
        async with await self.connect() as stream:
            await stream.send(head + body)
            answer = b"".join([chunk async for chunk in stream])
        return answer.startswith(b"HTTP/1.1 200 ")


@pytest.fixture(scope="module")
def target(issuer_host: IssuerHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    issuer = issuer_host.new_issuer()
    resource = f"http://127.0.0.1:{free_port('127.0.0.1', 0)}/mcp"
    command = [sys.executable, "-m", "tests.attacks.server", issuer.url, resource, str(tmp_path_factory.mktemp("home"))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == b"ready\n"
            other = issuer.mint(audience=resource, subject="mallory")
            yield Target(process.pid, resource, issuer.mint(audience=resource), other)
        finally:
            process.terminate()


@pytest.mark.parametrize("known", [False, True], ids=["stranger", "caller"])
@pytest.mark.parametrize(
    ("line", "piece"),
    [
        (f"Content-Length: {BODY}", b" " * 0x10000),
        ("Transfer-Encoding: chunked", PIECE),
        ("Transfer-Encoding: chunked", b"40\r\n%s\r\n" % (b" " * 0x40) * 0x400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 10", PIECE),
    ],
    ids=["declared", "chunked", "in crumbs", "both"],
)
async def test_a_hundred_megabytes_of_body_cost_no_memory(target: Target, line: str, piece: bytes, known: bool) -> None:
    assert await target.serves()  # what is loaded for a first call is no attack's cost
    before = target.peak()
    with anyio.fail_after(90):
        answer = await target.pour(target.head(line, token=target.token if known else None), piece)
        assert await target.serves()
    assert not answer or answer.split()[1] in {b"400", b"401", b"413"}, answer
    assert target.peak() - before < BOUND


async def test_a_hundred_megabytes_of_head_cost_no_memory(target: Target) -> None:
    assert await target.serves()  # what is loaded for a first call is no attack's cost
    before = target.peak()
    with anyio.fail_after(90):
        answer = await target.pour(b"POST /mcp HTTP/1.1\r\nX: ", b"x" * 0x10000)
        assert await target.serves()
    assert not answer or answer.split()[1] in {b"400", b"431"}, answer
    assert target.peak() - before < BOUND


async def test_many_bodies_that_never_end_cost_no_more_than_they_have_sent(target: Target) -> None:
    """Each stops after its first bytes and stays; the server answers others meanwhile."""
    assert await target.serves()  # what is loaded for a first call is no attack's cost
    before = target.peak()
    with anyio.fail_after(90):
        async with AsyncExitStack() as stack:
            for number in range(SLOW):
                stream = await stack.enter_async_context(await target.connect())
                known = target.other if number % 2 else None
                await stream.send(target.head(f"Content-Length: {MEGABYTE}", token=known) + b"{" * 0x1000)
            assert await target.serves()
    assert target.peak() - before < BOUND


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'], ids=["arrays", "objects", "both"])
async def test_json_that_nests_without_end_is_refused_before_it_is_parsed(world: World, opening: bytes) -> None:
    body = opening * (MEGABYTE // len(opening) - 1)
    with anyio.fail_after(60):
        response = await world.client().post("/mcp", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, -32700)
    assert world.app.scopes == []
