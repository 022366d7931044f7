"""Requests that failed before they were authenticated: a budget per address, and a bounded number of events."""

import logging
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import anyio
import httpx2
import pytest

from garrison.base.events import Kind
from garrison.guard import quiet
from garrison.guard.guard import Guard
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from tests.guard.world import World, asgi, call

DOCUMENT = "/.well-known/oauth-protected-resource/mcp"
FLOOD = 500


def limited(world: World, limit: int = 5, **changes: Any) -> Guard:
    return world.guard(limiter=Limiter(LimitSettings(stranger_requests_per_minute=limit)), **changes)


def client(world: World, guard: Guard, address: str = "203.0.113.7", token: str | None = None) -> httpx2.AsyncClient:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    transport = httpx2.ASGITransport(guard, client=(address, 50000))
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000", headers=headers)


async def test_a_stranger_over_the_budget_of_its_address_is_told_to_wait(world: World) -> None:
    stranger = client(world, limited(world, limit=2))
    for _ in range(2):
        assert (await stranger.post("/mcp", **call())).status_code == 401
    response = await stranger.post("/mcp", **call())
    assert response.status_code == 429
    assert 60 <= int(response.headers["retry-after"]) <= 61
    assert response.headers["ratelimit"] == f'"address";r=0;t={response.headers["retry-after"]}'
    assert response.headers["ratelimit-policy"] == '"address";q=2;w=60'
    assert response.json()["error"]["data"]["budget"] == "address"


@pytest.mark.parametrize(
    "sent",
    [
        {"url": "/mcp"},
        {"url": "/nowhere"},
        {"url": "/mcp", "headers": {"host": "evil.example"}},
        {"url": "/mcp", "headers": {"origin": "https://evil.example"}},
        {"url": "/mcp", "headers": {"authorization": "Bearer not.a.token"}},
        {"url": "/mcp", "headers": {"authorization": "Bearer ="}},
        {"url": "/mcp", "content": b"{", "headers": {"content-type": "text/plain"}},
    ],
)
async def test_a_flood_of_strangers_leaves_a_bounded_number_of_events(world: World, sent: Mapping[str, Any]) -> None:
    stranger = client(world, limited(world))
    for _ in range(FLOOD):
        await stranger.post(**sent)
    assert len(world.events.events) == 6
    assert world.events.kinds()[-1] == Kind.RATE_LIMITED


async def test_a_flood_of_websockets_leaves_a_bounded_number_of_events(world: World) -> None:
    guard = limited(world)
    scope = {"type": "websocket", "path": "/mcp", "headers": [], "client": ("203.0.113.7", 1)}
    for _ in range(FLOOD):
        assert (await asgi(guard, scope, [{"type": "websocket.connect"}]))[-1]["type"] == "websocket.close"
    assert len(world.events.events) == 6


async def test_whoever_bears_a_good_token_is_served_at_an_address_that_strangers_flood(world: World) -> None:
    guard = limited(world, limit=1)
    stranger, caller = client(world, guard), client(world, guard, token=world.mint())
    for _ in range(3):
        await stranger.post("/mcp", **call())
    assert (await stranger.post("/mcp", **call())).status_code == 429
    assert (await caller.post("/mcp", **call())).status_code == 200


async def test_what_a_caller_does_wrong_is_not_charged_to_its_address(world: World) -> None:
    guard = limited(world, limit=1)
    caller = client(world, guard, token=world.mint())
    for _ in range(5):
        assert (await caller.post("/mcp", **call("forbidden"))).status_code == 403
    assert (await client(world, guard).post("/mcp", **call())).status_code == 401


async def test_each_address_has_a_budget_of_its_own_and_an_ipv6_site_has_one(world: World) -> None:
    guard = limited(world, limit=1)
    answers = [
        (await client(world, guard, address).post("/mcp", **call())).status_code
        for address in ("203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
    ]
    assert answers == [401, 401, 401, 429, 401]


async def test_when_the_minute_is_over_the_number_of_those_unrecorded_is_recorded(world: World) -> None:
    guard = limited(world, limit=1)
    stranger = client(world, guard)
    for _ in range(10):
        await stranger.post("/mcp", **call())
    world.clock.now += 61
    await client(world, guard, "203.0.113.99").post("/mcp", **call())
    returned = world.events.events[2]
    assert (returned.kind, returned.address) == (Kind.RATE_LIMITED, "203.0.113.7")
    assert returned.detail == {"unrecorded": 8}


async def test_an_address_that_waited_is_heard_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = limited(world, limit=1)
    stranger = client(world, guard)
    moment = 61.0
    for _ in range(3):
        await stranger.post("/mcp", **call())
    world.clock.now += moment
    _advance(monkeypatch, moment)
    assert (await stranger.post("/mcp", **call())).status_code == 401


def _advance(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The budgets' own clock."""
    now = time.time() + seconds
    monkeypatch.setattr("garrison.limits.memory.time", SimpleNamespace(time=lambda: now))


async def test_an_address_that_never_returns_is_reported_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "WAKE_AFTER", 0.01)
    guard = limited(world, limit=1)
    stranger = client(world, guard)
    for _ in range(10):
        await stranger.post("/mcp", **call())
    world.clock.now += 61
    with anyio.fail_after(60):
        while len(world.events.events) < 3:
            await anyio.sleep(0.002)
    assert world.events.events[2].detail == {"unrecorded": 8}


async def test_a_count_that_cannot_be_recorded_goes_to_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    guard = limited(world, limit=1)
    stranger = client(world, guard)
    for _ in range(5):
        await stranger.post("/mcp", **call())
    world.clock.now += 61
    world.events.fail()
    await client(world, guard, "203.0.113.99").post("/mcp", **call())
    assert "event lost: 3 requests of 203.0.113.7 were refused" in caplog.text
    assert caplog.records[-1].levelno >= logging.ERROR


async def test_the_public_documents_have_a_budget_of_their_own(world: World) -> None:
    guard = limited(world, limit=3)
    stranger = client(world, guard)
    answers = [(await stranger.get(DOCUMENT)).status_code for _ in range(FLOOD)]
    assert answers == [200] * 3 + [429] * (FLOOD - 3)
    assert world.events.kinds() == [Kind.RATE_LIMITED]
    assert (await stranger.post("/mcp", **call())).status_code == 401


async def test_a_forged_header_is_no_other_address(world: World) -> None:
    guard = limited(world, limit=2)
    stranger = client(world, guard)
    answers = [
        (await stranger.get("/mcp", headers={"x-forwarded-for": f"198.51.100.{number}"})).status_code
        for number in range(4)
    ]
    assert answers == [401, 401, 429, 429]


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
async def test_behind_a_configured_proxy_each_stranger_is_one(world: World, header: str) -> None:
    guard = limited(world, limit=1, trusted_proxies=["203.0.113.0/24"])
    proxy = client(world, guard)
    prefix = "for=" if header == "forwarded" else ""
    answers = [
        (await proxy.get("/mcp", headers={header: f"{prefix}1.2.3.4, {prefix}{address}"})).status_code
        for address in ("198.51.100.1", "198.51.100.2", "198.51.100.1")
    ]
    assert answers == [401, 401, 429]
    assert [event.address for event in world.events.events] == ["198.51.100.1", "198.51.100.2", "198.51.100.1"]


async def test_a_flood_from_many_addresses_leaves_a_bounded_number_of_events_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "RECORDED_AT_MOST", 10)
    guard = limited(world)
    for number in range(200):
        assert (await client(world, guard, f"198.51.100.{number}").post("/mcp", **call())).status_code == 401
    assert len(world.events.events) == 10
    caller = client(world, guard, token=world.mint())
    assert (await caller.post("/mcp", **call("forbidden"))).status_code == 403
    assert world.events.kinds()[-1] == Kind.CALL_DENIED, "what callers do is always recorded"
    world.clock.now += 61
    await client(world, guard, "203.0.113.99").post("/mcp", **call())
    assert [event.detail for event in world.events.events[11:]] == [{"unrecorded": 190}, {"status": 401}]


async def test_addresses_over_their_budgets_leave_no_more_events_than_all_strangers_may(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where newcomers share one budget (limits/memory.py), each address is over it at its first request."""
    monkeypatch.setattr(quiet, "RECORDED_AT_MOST", 10)
    guard = limited(world, 1)
    for number in range(20):
        stranger = client(world, guard, f"198.51.100.{number}")
        assert [(await stranger.post("/mcp", **call())).status_code for _ in range(2)] == [401, 429]
    assert world.events.kinds() == [Kind.REQUEST_REJECTED, Kind.RATE_LIMITED] * 5
    world.clock.now += 61
    await client(world, guard, "203.0.113.99").post("/mcp", **call())
    assert [event.detail for event in world.events.events[10:]] == [{"unrecorded": 30}, {"status": 401}]


async def test_only_so_many_addresses_over_their_budgets_are_remembered_and_none_of_their_requests_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "REMEMBERED_AT_MOST", 3)
    monkeypatch.setattr(quiet, "RECORDED_AT_MOST", 50)
    guard = limited(world, limit=1)
    for number in range(20):
        stranger = client(world, guard, f"198.51.100.{number}")
        assert [(await stranger.post("/mcp", **call())).status_code for _ in range(6)] == [401] + [429] * 5
    assert len(guard._gate._quiet) == 4  # three addresses, and everybody
    world.clock.now += 61
    await client(world, guard, "203.0.113.99").post("/mcp", **call())
    recorded = [event for event in world.events.events if "unrecorded" not in event.detail]
    counted = [event for event in world.events.events if "unrecorded" in event.detail]
    assert len(recorded) == 50 + 1
    assert [event.address for event in counted] == [*(f"198.51.100.{number}" for number in range(3)), ""]
    assert len(recorded) + sum(int(event.detail["unrecorded"] or 0) for event in counted) == 20 * 6 + 1
    assert len(guard._gate._quiet) == 0
    stranger = client(world, guard, "198.51.100.9")
    assert (await stranger.post("/mcp", **call())).status_code == 429
    assert len(guard._gate._quiet) == 1, "there is room again"


async def test_callers_beyond_those_remembered_leave_a_bounded_number_of_events_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "REMEMBERED_AT_MOST", 1)
    monkeypatch.setattr(quiet, "RECORDED_AT_MOST", 2)
    guard = world.guard(limiter=Limiter(LimitSettings(requests_per_minute=1)))
    for subject in ("alice", "bob"):
        caller = client(world, guard, token=world.mint(subject=subject))
        assert [(await caller.post("/mcp", **call())).status_code for _ in range(6)] == [200] + [429] * 5
    limited_events = [event.subject for event in world.events.events if event.kind is Kind.RATE_LIMITED]
    assert limited_events == ["alice", "bob", "bob"]
    world.clock.now += 61
    await client(world, guard).post("/mcp", **call())
    counted = [event for event in world.events.events if "unrecorded" in event.detail]
    assert [(event.subject, event.detail["unrecorded"]) for event in counted] == [("alice", 4), ("", 3)]


async def test_many_addresses_leave_nothing_behind_when_their_time_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = limited(world, limit=1)
    for number in range(300):
        stranger = client(world, guard, f"198.51.{number // 200}.{number % 200}")
        for _ in range(3):
            await stranger.post("/mcp", **call())
    held = guard._gate._quiet
    assert len(held) == 300
    world.clock.now += 61
    await client(world, guard, "203.0.113.99").post("/mcp", **call())
    assert len(held) == 0


async def test_a_store_that_is_down_is_not_an_address_over_its_budget(world: World) -> None:
    """Else a moment without Redis would keep everybody who has yet to sign in waiting for a minute."""
    settings = LimitSettings(redis_url="redis://127.0.0.1:1/0", on_store_failure="refuse")
    guard = world.guard(limiter=Limiter(settings))
    assert (await world.client(guard, token=None).post("/mcp", **call())).status_code == 401
    assert (await world.client(guard).post("/mcp", **call())).status_code == 503
