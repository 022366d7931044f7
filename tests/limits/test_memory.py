"""The swept memory: callers who went away are forgotten, and a hit costs the same however many there are."""

import asyncio
import time

import pytest
from limits import RateLimitItemPerMinute
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from garrison.limits.memory import STEP, SweptMemory

MINUTE = RateLimitItemPerMinute(5)


async def sweep_now(storage: SweptMemory) -> None:
    storage._next_sweep = 0.0
    await MovingWindowRateLimiter(storage).hit(MINUTE, "whoever")
    assert storage.timer is not None
    await asyncio.wait([storage.timer])


async def test_a_hit_starts_no_sweep_before_it_is_due() -> None:
    storage = SweptMemory()
    await MovingWindowRateLimiter(storage).hit(MINUTE, "somebody")
    assert storage.timer is None


async def test_callers_who_went_away_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = SweptMemory()
    for number in range(2 * STEP):
        await MovingWindowRateLimiter(storage).hit(MINUTE, str(number))
        await SlidingWindowCounterRateLimiter(storage).hit(MINUTE, "tokens", str(number))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 121)
    await sweep_now(storage)
    assert (len(storage.events), len(storage.storage), len(storage.expirations), len(storage.locks)) == (1, 0, 0, 1)


async def test_callers_who_are_there_keep_what_they_spent() -> None:
    storage = SweptMemory()
    limiter = MovingWindowRateLimiter(storage)
    admitted = [await limiter.hit(MINUTE, "somebody") for _ in range(3)]
    await sweep_now(storage)
    admitted += [await limiter.hit(MINUTE, "somebody") for _ in range(3)]
    assert admitted == [True] * 5 + [False]


async def test_a_sweep_takes_only_what_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = SweptMemory()
    limiter = MovingWindowRateLimiter(storage)
    real = time.time
    for age in (90, 30, 0):
        monkeypatch.setattr(time, "time", lambda age=age: real() - age)
        await limiter.hit(MINUTE, "somebody")
    monkeypatch.undo()
    await sweep_now(storage)
    (entries,) = [entries for key, entries in storage.events.items() if "somebody" in key]
    assert len(entries) == 2
