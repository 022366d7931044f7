"""Broken bytes on a real socket, by the connection that Garrison serves with: nothing breaks, and nothing slips by."""

import json
import re
from dataclasses import replace
from random import Random

import anyio
import pytest
from anyio.abc import SocketStream

from garrison.base.events import NullSink
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from garrison.serving import Endpoint, bind, running
from tests.guard.fuzz import Shot, changed, good_shots, message_may_pass, scarred
from tests.guard.world import SCOPE, World, living

SHOTS, AT_ONCE = 3_000, 30
LAST = b"\r\nGET /the-end HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n"
PLENTY = LimitSettings(
    requests_per_minute=10_000_000, tokens_per_hour=10_000_000_000, stranger_requests_per_minute=10_000_000
)
PATIENCE = 0.15
"""Seconds that a shot's answer is waited for. Some have none: the server waits for the rest of what it was promised."""


def loaded(number: int, good: list[Shot], tokens: list[str]) -> bytes:
    """Shot `number` as bytes, with marks that say whether its sender had a token at all."""
    random = Random(number)  # noqa: S311 - chance that can be had again, no secret
    stranger = number % 2 == 1
    shot = changed(random, marked(good[number % len(good)], b"stranger" if stranger else b"alice"), tokens)
    raw = shot.raw() if number % 3 else scarred(random, shot.raw())
    for token in filter(None, tokens if stranger else []):
        raw = raw.replace(token.encode(), b"none")
    return raw


def marked(shot: Shot, mark: bytes) -> Shot:
    body = shot.body.replace(b'"id": 1', b'"id": "%s"' % mark)
    headers = [(name, str(len(body)).encode() if name == b"content-length" else value) for name, value in shot.headers]
    return replace(shot, headers=[*headers, (b"x-mark", mark)], body=body)


async def answers(host: str, port: int, raw: bytes, patience: float = PATIENCE) -> bytes:
    """Everything that comes back for `raw` and a last request."""
    found = b""
    async with await anyio.connect_tcp(host, port) as stream:
        try:
            await stream.send(raw + LAST % f"{host}:{port}".encode())
            found = await _read(stream, patience)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # refused in the middle: that is an answer too
    return found


async def _read(stream: SocketStream, patience: float) -> bytes:
    found = b""
    with anyio.move_on_after(patience):
        async for chunk in stream:
            found += chunk
    return found


@pytest.mark.no_cover
@pytest.mark.xdist_group("wire")
async def test_no_bytes_on_the_wire_break_the_server_or_slip_past_the_guard(world: World) -> None:
    sockets = bind("guarded server", "127.0.0.1", 0)
    port = int(sockets[0].getsockname()[1])
    resource = f"http://127.0.0.1:{port}/mcp"
    guard = world.guard(living(world.app), resource=resource, events=NullSink(), limiter=Limiter(PLENTY))
    token = world.mint(audience=resource)
    good = [rehosted(shot, port) for shot in good_shots(token)]
    tokens = [token, world.mint("", audience=resource), world.mint()]
    statuses: list[bytes] = []

    async def shoot(first: int) -> None:
        for number in range(first, SHOTS, AT_ONCE):
            found = await answers("127.0.0.1", port, loaded(number, good, tokens))
            statuses.extend(re.findall(rb"HTTP/1\.1 (\d{3}) ", found))

    with anyio.fail_after(100):
        async with running(Endpoint("guarded server", guard, sockets)):
            async with anyio.create_task_group() as tasks:
                for first in range(AT_ONCE):
                    tasks.start_soon(shoot, first)
            assert b"200 OK" in await answers("127.0.0.1", port, good[0].raw(), patience=30)
    assert b"500" not in statuses
    assert {b"200", b"400", b"401", b"404"} <= set(statuses)
    check_reached(world)


def check_reached(world: World) -> None:
    """Nothing of a stranger's, and nothing that the policy doesn't let."""
    assert len(world.app.bodies) > SHOTS / 50
    for body in world.app.bodies:
        assert b"stranger" not in body
        assert not body or message_may_pass(json.loads(body), {}, set(SCOPE.split()))
    for scope in world.app.scopes:
        assert (b"x-mark", b"stranger") not in scope["headers"]


def rehosted(shot: Shot, port: int) -> Shot:
    shot.headers = [(name, f"127.0.0.1:{port}".encode() if name == b"host" else value) for name, value in shot.headers]
    return shot
