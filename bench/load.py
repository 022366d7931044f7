"""A client that costs little, so that what is measured is the server: raw HTTP/1.1 on keep-alive connections.

What a connection sends is a script: a generator that yields requests and is sent each answer.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

CONNECTIONS = 50


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    head: bytes
    body: bytes

    @property
    def location(self) -> str:
        return (
            (self.head.partition(b"\r\nlocation: ")[2] or self.head.partition(b"\r\nLocation: ")[2])
            .split(b"\r\n")[0]
            .decode()
        )


Script = Generator[bytes, Answer, None]
"""Ends after one unit of work, which is what is counted."""


@dataclass(frozen=True)
class Measured:
    """Seconds that each unit took, and all together."""

    latencies: list[float]
    seconds: float

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, percent: int) -> float:
        return sorted(self.latencies)[len(self.latencies) * percent // 100]


class _Connection(asyncio.Protocol):
    def __init__(self, work: "_Work") -> None:
        self._work = work
        self._received = b""
        self._begun = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        self._transport = transport
        self._next_unit()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, complete, body = self._received.partition(b"\r\n\r\n")
        if not complete:
            return
        length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
        if len(body) < int(length or 0):
            return
        self._received = b""
        try:
            self._transport.write(self._script.send(Answer(int(head[9:12]), head, body)))
        except StopIteration:
            self._work.latencies.append(time.perf_counter() - self._begun)
            self._next_unit()
        except BaseException as error:  # noqa: BLE001 - it goes to whoever waits for the end
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the server closed the connection"))

    def _next_unit(self) -> None:
        if self._work.left <= 0:
            self._transport.close()
            self._end(None)
            return
        self._work.left -= 1
        self._script = self._work.script()
        self._begun = time.perf_counter()
        self._transport.write(next(self._script))

    def _end(self, error: BaseException | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


@dataclass
class _Work:
    script: Callable[[], Script]
    left: int
    latencies: list[float]


async def run(port: int, script: Callable[[], Script], units: int, connections: int = CONNECTIONS) -> Measured:
    """`units` runs of `script`, over `connections` at once."""
    work = _Work(script, units, [])
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    opened = [await loop.create_connection(lambda: _Connection(work), "127.0.0.1", port) for _ in range(connections)]
    async with asyncio.timeout(600):
        await asyncio.gather(*(connection.done for _, connection in opened))
    return Measured(work.latencies, time.perf_counter() - begun)


def get(url: str, headers: Mapping[str, str]) -> bytes:
    """The request for `url`; a path alone is on the host that `headers` name."""
    parts = urlsplit(url)
    return _request("GET", f"{parts.path}?{parts.query}", headers, b"")


def post(path: str, headers: Mapping[str, str], form: Mapping[str, str]) -> bytes:
    body = urlencode(form).encode()
    media = {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(body))}
    return _request("POST", path, {**headers, **media}, body)


def _request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body
