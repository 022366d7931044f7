"""The limiter in memory: what it admits, what it says about waiting, what a refusal costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from garrison.base.errors import UsageError
from garrison.limits.limiter import Admission, Limiter
from garrison.limits.settings import LimitSettings

if TYPE_CHECKING:
    from tests.limits.conftest import SteppedTime

SMALL = LimitSettings(requests_per_minute=3, tokens_per_hour=100)


async def admitted(limiter: Limiter, calls: int, tokens: int = 1) -> int:
    results = await asyncio.gather(*(limiter.admit("alice", tokens) for _ in range(calls)))
    return sum(result.allowed for result in results)


async def test_the_sixty_first_request_in_a_minute_is_refused(stepped_time: SteppedTime) -> None:
    limiter = Limiter(LimitSettings())
    assert await admitted(limiter, 60) == 60
    refusal = await limiter.admit("alice", 1)
    assert (refusal.allowed, refusal.budget, refusal.limit, refusal.remaining) == (False, "requests", 60, 0)
    await limiter.aclose()


async def test_two_hundred_calls_at_once_get_sixty_admissions() -> None:
    limiter = Limiter(LimitSettings())
    assert await admitted(limiter, 200) == 60
    await limiter.aclose()


async def test_principals_have_budgets_of_their_own() -> None:
    limiter = Limiter(LimitSettings(requests_per_minute=1))
    names = ["alice", "alice/1", "alice:1", "{alice}", "alice/60/1/minute", "", "\ud800"]
    assert all([(await limiter.admit(name, 1)).allowed for name in names])
    assert not any([(await limiter.admit(name, 1)).allowed for name in names])
    await limiter.aclose()


async def test_a_cost_above_the_whole_budget_never_fits(stepped_time: SteppedTime) -> None:
    limiter = Limiter(SMALL)
    assert await limiter.admit("alice", 101) == Admission(
        False, "tokens", 100, 100, reset_after=3600.0, retry_after=3600, never=True
    )
    assert (await limiter.admit("alice", 100)).allowed
    await limiter.aclose()


async def test_a_call_refused_for_its_tokens_costs_no_request(stepped_time: SteppedTime) -> None:
    limiter = Limiter(SMALL)
    assert (await limiter.admit("alice", 90)).remaining == 2
    assert not any([(await limiter.admit("alice", 50)).allowed for _ in range(10)])
    assert (await limiter.admit("alice", 1)).remaining == 1
    await limiter.aclose()


async def test_a_call_refused_for_its_requests_costs_no_tokens(stepped_time: SteppedTime) -> None:
    limiter = Limiter(SMALL)
    assert await admitted(limiter, 10, tokens=30) == 3
    stepped_time.now += 61
    refusal = await limiter.admit("alice", 50)
    assert (refusal.budget, refusal.remaining) == ("tokens", 10)
    await limiter.aclose()


async def test_the_longer_wait_is_the_one_reported(stepped_time: SteppedTime) -> None:
    limiter = Limiter(LimitSettings(requests_per_minute=1, tokens_per_hour=100))
    await limiter.admit("alice", 100)
    assert (await limiter.admit("alice", 1)).budget == "tokens"
    await limiter.aclose()


async def test_the_longer_wait_may_be_the_requests(stepped_time: SteppedTime) -> None:
    limiter = Limiter(LimitSettings(requests_per_minute=1, tokens_per_hour=100))
    await limiter.settle("alice", 100)
    stepped_time.now += 3600 + 1800  # half of the hundred still counts; a moment later, a little less
    await limiter.admit("alice", 1)
    assert (await limiter.admit("alice", 50)).budget == "requests"
    await limiter.aclose()


async def test_a_spent_token_budget_refuses_even_a_free_call(stepped_time: SteppedTime) -> None:
    limiter = Limiter(SMALL)
    await limiter.settle("alice", 100)
    assert not (await limiter.admit("alice", 0)).allowed
    await limiter.aclose()


async def test_settling_charges_what_was_spent(stepped_time: SteppedTime) -> None:
    limiter = Limiter(SMALL)
    await limiter.admit("alice", 10)
    await limiter.settle("alice", 60)
    refusal = await limiter.admit("alice", 31)
    assert (refusal.allowed, refusal.remaining) == (False, 30)
    await limiter.aclose()


async def test_settling_more_than_is_left_empties_the_budget(stepped_time: SteppedTime) -> None:
    limiter = Limiter(SMALL)
    await limiter.admit("alice", 10)
    await limiter.settle("alice", 1_000_000)
    refusal = await limiter.admit("alice", 1)
    assert (refusal.allowed, refusal.budget, refusal.remaining) == (False, "tokens", 0)
    await limiter.aclose()


STEPS = st.lists(st.tuples(st.floats(0, 4000), st.integers(1, 120), st.integers(0, 150)), min_size=1, max_size=25)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_retry_after_is_true_and_less_than_a_second_too_long(
    stepped_time: SteppedTime, steps: list[tuple[float, int, int]]
) -> None:
    limiter = Limiter(SMALL)  # a new one each time; the clock only ever goes on
    for pause, cost, settled in steps:
        stepped_time.now += pause
        admission = await limiter.admit("alice", cost)
        if not (admission.allowed or admission.never):
            just_before = max(0.0, admission.retry_after - 1.01)
            stepped_time.now += just_before
            assert not (await limiter.admit("alice", cost)).allowed
            stepped_time.now += admission.retry_after - just_before
            assert (await limiter.admit("alice", cost)).allowed
        await limiter.settle("alice", settled)
    await limiter.aclose()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pauses=st.lists(st.floats(0, 40), max_size=40))
async def test_no_minute_ever_holds_more_than_its_limit(stepped_time: SteppedTime, pauses: list[float]) -> None:
    limiter = Limiter(SMALL)
    admissions: list[float] = []
    for pause in pauses:
        stepped_time.now += pause
        if (await limiter.admit("alice", 1)).allowed:
            admissions.append(stepped_time.now)
        assert len([moment for moment in admissions if moment > stepped_time.now - 60]) <= 3
    await limiter.aclose()


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in (
        {"requests_per_minute": 0},
        {"tokens_per_hour": -1},
        {"on_store_failure": "ignore"},
    ):
        with pytest.raises(UsageError):
            LimitSettings(**wrong)
    with pytest.raises(UsageError, match="not a Redis URL"):
        Limiter(LimitSettings(redis_url="http://:secret@localhost"))


def test_the_settings_hide_the_password_of_redis() -> None:
    assert "secret" not in repr(LimitSettings(redis_url="redis://:secret@localhost:6379/0"))
