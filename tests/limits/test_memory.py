"""Budgets in memory: decided like the `limits` library decides, and of bounded size."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from garrison.limits import memory
from garrison.limits.budgets import Budget, Charge
from garrison.limits.memory import MemoryBudgets

if TYPE_CHECKING:
    from tests.limits.conftest import SteppedTime

REQUESTS = Budget("requests", 5, 60)
TOKENS = Budget("tokens", 100, 3600, counted=True)
TOOL = Budget("tool", 1, 60, of="transfer")
NAMES = st.sampled_from(["alice", "bob"])
# Whole seconds meet the windows' edges, fractions fall between them.
PAUSES = st.one_of(st.sampled_from([0, 5, 55, 59, 60, 61, 3600]), st.floats(0, 90), st.integers(0, 9000))
EDGES = [(pause, "alice", 1, 0) for pause in (0, 0, 0, 0, 0, 55, 4, 1, 1)]
"""A full window a little before its oldest request leaves, and a little after."""


def both(who: str, tokens: int) -> list[Charge]:
    return [(REQUESTS, who, 1), (TOKENS, who, tokens)]


class Library:
    """The same budgets by the library's own strategies, one window after the other."""

    def __init__(self) -> None:
        class Unswept(MemoryStorage):
            async def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802  a sweep decides nothing
                pass

        storage = Unswept()
        self._requests, self._minute = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(REQUESTS.limit)
        self._tokens, self._hour = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerHour(TOKENS.limit)

    async def admit(self, who: str, tokens: int) -> bool:
        if not await self._tokens.test(self._hour, who, cost=tokens):
            return False
        # At the very edge of a window this strategy's `test` says yes where its `hit` says no.
        if not await self._requests.hit(self._minute, who):
            return False
        assert await self._tokens.hit(self._hour, who, cost=tokens)
        return True

    async def settle(self, who: str, tokens: int) -> None:
        left = (await self._tokens.get_window_stats(self._hour, who)).remaining
        if (cost := min(tokens, left)) > 0:
            assert await self._tokens.hit(self._hour, who, cost=cost)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(PAUSES, NAMES, st.integers(1, 110), st.integers(0, 120)), max_size=40))
@example(EDGES)
async def test_every_decision_is_that_of_the_librarys_strategies(
    stepped_time: SteppedTime, steps: list[tuple[float, str, int, int]]
) -> None:
    ours, library = MemoryBudgets([REQUESTS, TOKENS]), Library()
    for pause, who, tokens, settled in steps:
        stepped_time.now += pause
        assert ours.admit(both(who, tokens)).allowed is await library.admit(who, tokens)
        ours.settle(TOKENS, who, settled)
        await library.settle(who, settled)


async def test_a_refused_newcomer_leaves_no_trace(stepped_time: SteppedTime) -> None:
    budgets, tool = MemoryBudgets([REQUESTS, TOKENS, TOOL]), (TOOL, "alice", 1)
    assert budgets.admit(both("alice", TOKENS.limit + 1)).never
    assert len(budgets) == 0
    assert budgets.admit([tool]).allowed
    assert not budgets.admit([*both("alice", 1), tool]).allowed
    assert len(budgets) == 1


@pytest.mark.no_cover
@pytest.mark.parametrize("seconds_between_callers", [0.01, 0.1])
async def test_callers_who_went_away_are_forgotten_after_two_windows_at_most(
    stepped_time: SteppedTime, seconds_between_callers: float
) -> None:
    budgets, most = MemoryBudgets([REQUESTS]), 0
    for number in range(40_000):
        stepped_time.now += seconds_between_callers
        budgets.admit([(REQUESTS, str(number), 1)])
        most = max(most, len(budgets))
    # A shard turns when it is used next, so by chance some of them a little later than they could.
    assert most <= 2.5 * REQUESTS.seconds / seconds_between_callers


async def test_token_counts_are_forgotten_after_two_hours_at_most(
    stepped_time: SteppedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SHARDS", 1)
    budgets = MemoryBudgets([TOKENS])
    for number in range(1000):
        budgets.admit([(TOKENS, str(number), 1)])
    stepped_time.now += 2 * 3600
    budgets.admit([(TOKENS, "whoever", 1)])
    assert len(budgets) == 1


@pytest.mark.parametrize("budget", [REQUESTS, TOKENS])
async def test_more_callers_than_there_is_room_for_share_one_budget(
    stepped_time: SteppedTime, monkeypatch: pytest.MonkeyPatch, budget: Budget
) -> None:
    monkeypatch.setattr(memory, "SHARDS", 1)
    monkeypatch.setattr(memory, "MAX_KEYS", 100)
    budgets = MemoryBudgets([budget])
    admitted = [budgets.admit([(budget, str(number), 1)]).allowed for number in range(1000)]
    assert admitted == [True] * (100 + budget.limit) + [False] * (900 - budget.limit)
    assert len(budgets) == 101
    assert budgets.admit([(budget, "7", 1)]).allowed, "who was there before keeps a budget of one's own"


@pytest.mark.parametrize("budget", [REQUESTS, TOKENS])
@pytest.mark.parametrize("step", [-1.0, -59.0, -3599.0])
async def test_a_clock_that_is_put_back_gives_no_new_budget(
    stepped_time: SteppedTime, budget: Budget, step: float
) -> None:
    budgets = MemoryBudgets([budget])
    for _ in range(budget.limit):
        budgets.admit([(budget, "alice", 1)])
    stepped_time.now += step
    assert not budgets.admit([(budget, "alice", 1)]).allowed


async def test_a_clock_that_is_put_back_time_and_again_gives_no_new_budget_either(stepped_time: SteppedTime) -> None:
    budgets = MemoryBudgets([REQUESTS])
    for _ in range(REQUESTS.limit):
        budgets.admit([(REQUESTS, "alice", 1)])
    others = [str(number) for number in range(1000)]  # so that every shard sees the clock
    for _ in range(3):
        stepped_time.now -= 2 * REQUESTS.seconds
        for other in others:
            budgets.admit([(REQUESTS, other, 1)])
    assert not budgets.admit([(REQUESTS, "alice", 1)]).allowed


async def test_the_garbage_collector_has_nothing_to_walk_over(stepped_time: SteppedTime) -> None:
    """A million tracked objects would make each of its full rounds a pause of a good part of a second."""
    budgets = MemoryBudgets([REQUESTS, TOKENS])
    gc.collect()
    before = len(gc.get_objects())
    for number in range(1000):
        budgets.admit(both(str(number), 1))
    assert len(gc.get_objects()) - before < 100
