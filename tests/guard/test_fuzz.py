"""Fifty thousand requests that nobody foresaw: no 500, no hang, and not a byte to the app that no policy lets."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message

from garrison.base.events import EventSink
from garrison.guard.guard import Guard
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from garrison.monitor.store import EventStore
from tests.guard.fuzz import FREE, NAMES, RULES, Shot, changed, good_shots, may_pass
from tests.guard.world import SCOPE, World

pytestmark = pytest.mark.no_cover
BATCHES, SHOTS = 10, 5_000
STATUSES = {200, 400, 401, 403, 404, 405, 408, 413, 415, 421}
"""All that a guard answers while nothing that it leans on is broken, and nobody's budget is used up."""
PLENTY = LimitSettings(
    requests_per_minute=10_000_000, tokens_per_hour=10_000_000_000, stranger_requests_per_minute=10_000_000
)


class Range:
    """A guard to shoot at, and the tokens to do it with."""

    def __init__(self, world: World, events: EventSink) -> None:
        self.world = world
        self.scopes = {world.mint(scope, jti=scope): set(scope.split()) for scope in (SCOPE, "customer:read", "")}
        self.tokens = [*self.scopes, *self._bad_tokens()]
        self.good = good_shots(next(iter(self.scopes)))
        self.guard: Guard = world.guard(events=events, limiter=Limiter(PLENTY))

    def _bad_tokens(self) -> list[str]:
        mint, now = self.world.mint, self.world.clock()
        return [
            mint(audience="http://localhost:8000/other"),
            mint(issuer="http://evil.example"),
            mint(now=now - 5000),
            "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30.",
            "",
        ]

    def shot(self, number: int) -> Shot:
        random = Random(number)  # noqa: S311 - chance that can be had again, no secret
        return changed(random, self.good[number % len(self.good)], self.tokens)

    async def fire(self, shot: Shot) -> list[Message]:
        """What the guard answers; once the events are used up, the client is gone."""
        pending, sent = shot.events(), []

        async def receive() -> Message:
            return pending.pop(0) if len(pending) > 1 else pending[0]

        async def send(message: Message) -> None:
            sent.append(message)

        with anyio.fail_after(60):
            await self.guard(shot.scope(), receive, send)
        return sent


@pytest.fixture
async def range_(world: World, tmp_path: Path) -> AsyncIterator[Range]:
    async with EventStore(tmp_path / "events.db") as events:  # a real one: it must be able to hold whatever comes
        yield Range(world, events)


def check_answer(sent: list[Message], shot: Shot) -> None:
    """One whole HTTP answer, of a status that a guard gives."""
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"], shot
    assert sent[0]["status"] in STATUSES, shot
    if sent[0]["status"] != 200:
        assert "error" in json.loads(sent[1]["body"]), shot


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_nothing_reaches_the_app_but_what_the_policy_lets(range_: Range, batch: int) -> None:
    """An own idea of the policy judges each: reached is only what it allows, byte for byte."""
    app, reached = range_.world.app, 0
    for number in range(SHOTS):
        shot = range_.shot(batch * SHOTS + number)
        before = len(app.scopes)
        check_answer(await range_.fire(shot), shot)
        if len(app.scopes) == before:
            continue
        reached += 1
        assert may_pass(shot, range_.scopes), shot
        assert app.bodies[-1] == (shot.body if shot.method == "POST" else b""), shot
        assert b"authorization" not in {name.lower() for name, _ in app.scopes[-1]["headers"]}, shot
    assert SHOTS / 20 < reached < SHOTS / 2  # it was neither a wall nor an open door that was shot at


WORDS = st.sampled_from(
    [*["jsonrpc", "2.0", "id", "method", "params", "name", "uri", "arguments", "_meta", "tools/call", "whoami"]]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5),
    max_leaves=12,
)
REQUESTS = st.fixed_dictionaries(
    {
        "jsonrpc": st.just("2.0"),
        "id": st.integers() | JSON,
        "method": st.sampled_from(sorted([*FREE, *RULES])) | st.text(max_size=9),
    },
    optional={"params": st.dictionaries(WORDS, JSON, max_size=5) | JSON},
)
HEADER = st.tuples(st.sampled_from(NAMES).map(str.encode) | st.binary(max_size=12), st.binary(max_size=24))


@settings(
    max_examples=500, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(message=REQUESTS | JSON, headers=st.lists(HEADER, max_size=2), at=st.integers(0, 14), kept=st.booleans())
async def test_no_message_that_can_be_thought_of_breaks_the_guard(
    range_: Range, message: Any, headers: list[tuple[bytes, bytes]], at: int, kept: bool
) -> None:
    """Whole JSON of any shape under good headers and odd ones; what comes through is judged as above."""
    shot, app = range_.good[at], range_.world.app
    body = shot.body if kept else json.dumps(message).encode()
    length = (b"content-length", str(len(body)).encode())
    shot = replace(shot, body=body, headers=[*(h for h in shot.headers if h[0] != length[0]), length, *headers])
    check_answer(await range_.fire(shot), shot)
    if app.scopes:
        assert may_pass(shot, range_.scopes)
    app.scopes.clear()


async def test_each_good_request_passes(range_: Range) -> None:
    for shot in range_.good:
        assert may_pass(shot, range_.scopes), shot
        await range_.fire(shot)
    assert len(range_.world.app.scopes) == len(range_.good)
