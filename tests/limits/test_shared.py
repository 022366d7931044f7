"""The limiter on a real Redis: shared counts, and what an outage does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from garrison.base.errors import EventStoreError
from garrison.limits.limiter import Limiter, StoreDownError
from garrison.limits.settings import LimitSettings
from garrison.limits.shared import STORE_TIMEOUT

if TYPE_CHECKING:
    from tests.limits.servers import RedisServer

pytestmark = pytest.mark.needs("redis")


class Outages:
    """Counts the reports, and holds the clock of the probes."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    async def report(self, sentence: str) -> None:
        self.reports.append(sentence)


@pytest.fixture
def outages() -> Outages:
    return Outages()


MakeLimiter = Callable[..., Limiter]


@pytest.fixture
async def make_limiter(redis_server: RedisServer, outages: Outages) -> AsyncIterator[MakeLimiter]:
    made: list[Limiter] = []

    def make(**changes: object) -> Limiter:
        settings = LimitSettings(redis_url=redis_server.url, **changes)  # type: ignore[arg-type]  # any field
        made.append(Limiter(settings, clock=outages.clock, on_failure=outages.report))
        return made[-1]

    yield make
    for limiter in made:
        await limiter.aclose()


async def admitted(*limiters: Limiter, calls: int = 200) -> int:
    results = await asyncio.gather(*(limiters[n % len(limiters)].admit("alice", 1) for n in range(calls)))
    return sum(result.allowed for result in results)


async def test_two_limiters_on_one_redis_admit_sixty_of_two_hundred_calls(make_limiter: MakeLimiter) -> None:
    assert await admitted(make_limiter(), make_limiter()) == 60


async def test_two_limiters_on_one_redis_share_the_token_budget(make_limiter: MakeLimiter) -> None:
    one, other = make_limiter(tokens_per_hour=100), make_limiter(tokens_per_hour=100)
    await one.admit("alice", 90)
    refusal = await other.admit("alice", 20)
    assert (refusal.budget, refusal.remaining, refusal.never) == ("tokens", 10, False)
    assert (await one.admit("alice", 101)).never


async def test_a_refused_call_spends_nothing_on_redis(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(requests_per_minute=3, tokens_per_hour=100)
    await limiter.admit("alice", 90)
    assert not any([(await limiter.admit("alice", 50)).allowed for _ in range(5)])
    assert (await limiter.admit("alice", 10)).remaining == 1


async def test_settlements_at_once_leave_nothing_of_a_budget_they_exceed(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(tokens_per_hour=1000)
    await asyncio.gather(*(limiter.settle("bob", 1) for _ in range(8)))  # opens the connections
    await asyncio.gather(*(limiter.settle("alice", 400) for _ in range(8)))
    assert (await limiter.admit("alice", 1)).remaining == 0


async def test_retry_after_tells_the_window_of_redis(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(requests_per_minute=1, tokens_per_hour=100)
    before = time.time()
    await limiter.admit("alice", 60)
    requests = await limiter.admit("alice", 1)
    assert 60 - (time.time() - before) <= requests.reset_after <= 60
    assert requests.retry_after in (60, 61)
    # 60 tokens fall to 50 a sixth of an hour after the hour that they were spent in.
    tokens = await limiter.admit("alice", 50)
    rest_of_hour = 3600 - before % 3600
    assert tokens.reset_after == pytest.approx(rest_of_hour + 3600 * (1 - 51 / 60), abs=time.time() - before + 0.1)


async def test_redis_learns_no_principal(make_limiter: MakeLimiter, redis_server: RedisServer) -> None:
    await make_limiter().admit("alice@example.com", 1)
    with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        keys = list(redis.scan_iter())
    assert keys
    assert not any("alice" in key for key in keys)


async def test_an_outage_is_reported_once_and_counted_locally(
    make_limiter: MakeLimiter, redis_server: RedisServer, outages: Outages
) -> None:
    limiter = make_limiter()
    assert (await limiter.admit("alice", 1)).remaining == 59
    redis_server.stop()
    assert await admitted(limiter) == 60
    assert outages.reports == ["The rate limits' Redis can't be used: ConnectionError."]


async def test_redis_is_used_again_once_a_probe_finds_it(
    make_limiter: MakeLimiter, redis_server: RedisServer, outages: Outages
) -> None:
    limiter, witness = make_limiter(), make_limiter()
    redis_server.stop()
    await limiter.admit("alice", 1)
    redis_server.start()
    await limiter.admit("alice", 1)
    assert (await witness.admit("alice", 1)).remaining == 59, "no probe was due yet"
    outages.now += 1.0
    assert (await limiter.admit("alice", 1)).remaining == 58
    redis_server.stop()
    await limiter.admit("alice", 1)
    assert len(outages.reports) == 2, "a second outage is reported too"


async def test_probes_become_rarer_while_redis_stays_down(
    make_limiter: MakeLimiter, redis_server: RedisServer, outages: Outages
) -> None:
    limiter = make_limiter(on_store_failure="refuse")
    redis_server.stop()
    waits = []
    for _ in range(6):
        with pytest.raises(StoreDownError) as down:
            await limiter.admit("alice", 1)
        waits.append(down.value.retry_in)
        outages.now += down.value.retry_in
    assert waits == [1, 2, 4, 8, 15, 15]
    assert len(outages.reports) == 1


async def test_by_setting_an_outage_refuses_every_call_with_a_short_retry(
    make_limiter: MakeLimiter, redis_server: RedisServer
) -> None:
    limiter = make_limiter(on_store_failure="refuse")
    redis_server.stop()
    for _ in range(3):
        with pytest.raises(StoreDownError) as down:
            await limiter.admit("alice", 1)
        assert down.value.retry_in == 1


async def test_a_redis_that_hangs_holds_no_call_for_long(
    make_limiter: MakeLimiter, redis_server: RedisServer, outages: Outages
) -> None:
    limiter = make_limiter()
    await limiter.admit("alice", 1)
    redis_server.hang()
    begun = time.monotonic()
    assert await admitted(limiter, calls=100) == 60
    assert time.monotonic() - begun < 60, "they wait side by side"
    assert len(outages.reports) == 1
    begun = time.monotonic()
    await limiter.admit("bob", 1)
    assert time.monotonic() - begun < STORE_TIMEOUT - 0.5, "only probes wait"
    redis_server.resume()


async def test_an_answer_that_came_too_late_is_nobodys(
    make_limiter: MakeLimiter, redis_server: RedisServer, outages: Outages
) -> None:
    limiter = make_limiter(requests_per_minute=3)
    for _ in range(3):
        await limiter.admit("alice", 1)
    redis_server.hang()
    await asyncio.gather(*(limiter.admit("alice", 1) for _ in range(8)))
    redis_server.resume()
    outages.now += 100
    answers = [await limiter.admit(str(number), 1) for number in range(20)]
    assert [answer.remaining for answer in answers] == [2] * 20, "none of alice's refusals"
    assert len(outages.reports) == 1


async def test_a_restarted_redis_is_no_outage(
    make_limiter: MakeLimiter, redis_server: RedisServer, outages: Outages
) -> None:
    limiter = make_limiter()
    await limiter.admit("alice", 1)
    redis_server.stop()
    redis_server.start()
    assert (await limiter.admit("alice", 1)).allowed
    assert outages.reports == []


async def test_a_report_that_fails_reaches_the_caller_and_is_made_again(redis_server: RedisServer) -> None:
    reports = []

    async def report(sentence: str) -> None:
        reports.append(sentence)
        raise EventStoreError("The event store is full.")

    outages = Outages()
    limiter = Limiter(LimitSettings(redis_url=redis_server.url), clock=outages.clock, on_failure=report)
    redis_server.stop()
    for _ in range(2):
        with pytest.raises(EventStoreError):
            await limiter.admit("alice", 1)
        outages.now += 100
    assert len(reports) == 2
    await limiter.aclose()


async def test_settling_during_an_outage_charges_the_local_budget(
    make_limiter: MakeLimiter, redis_server: RedisServer
) -> None:
    limiter = make_limiter(tokens_per_hour=100)
    redis_server.stop()
    await limiter.settle("alice", 70)
    assert (await limiter.admit("alice", 50)).remaining == 30
