"""Budgets in this process: decided like the `limits` library's strategies do, in one step that nothing can interrupt.

Written by hand because the library's memory storage takes 60 to 80 µs for two budgets (a lock, a sweep and several
awaits for each look), can't charge two windows or none, and makes three objects a request for the garbage collector to
walk over. A property test holds every decision against the library's own.

Memory is bounded by time and by number. A window keeps its keys in two generations: those seen since the last turn and
those seen in the turn before it. A turn comes once in a window's length and drops the older generation whole, which by
then counts for nothing; no sweep walks over anything. Beyond `MAX_KEYS` in a generation, newcomers share one budget.
Callers are spread over `SHARDS`, so that neither a table that grows nor a generation that goes makes others wait.
"""

import time
from bisect import bisect_left
from collections.abc import Sequence
from struct import Struct

from garrison.limits.budgets import Admission, Budget, Charge, Taken, admission, refusal
from garrison.limits.windows import RequestWindow, TokenWindow, left_of, rest_of_window

SHARDS = 64
MAX_KEYS = 1_000_000 // SHARDS
"""Keys of one budget in one generation of one shard; about 250 bytes each, for a principal's 64 characters."""
_SHARED = ""
"""The key of those who came when there was no room for more."""
_MOMENT = Struct("d")
_SIZE, _pack, _unpack = _MOMENT.size, _MOMENT.pack, _MOMENT.unpack_from


class MovingWindows:
    """The moments of each key's requests in the last `seconds`, oldest first.

    They are packed in bytearrays, which give up their front at no cost and which the garbage collector ignores.
    """

    def __init__(self, limit: int, seconds: int) -> None:
        self._limit = limit
        self._seconds = seconds
        self._recent: dict[str, bytearray] = {}
        self._older: dict[str, bytearray] = {}
        self._turn_at = 0.0

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def take(self, who: str, now: float, _one: int) -> Taken | None:
        """Charge one request, or None: it doesn't fit."""
        moments = self._find(who, now)
        if not moments:
            self._recent[self._key(who)] = bytearray(_pack(now))
            return self._limit - 1, float(self._seconds)
        left = self._limit - len(moments) // _SIZE
        if left < 1:
            return None
        (oldest,) = _unpack(moments)
        moments += _pack(now)
        return left - 1, oldest + self._seconds - now

    def give_back(self, who: str, now: float, _one: int) -> None:
        """Undo the `take` of this moment."""
        moments = self._find(who, now)
        if moments:
            del moments[-_SIZE:]
        if not moments:
            self._recent.pop(who if who in self._recent else _SHARED)

    def look(self, who: str, now: float) -> RequestWindow:
        moments = self._find(who, now)
        if not moments:
            return RequestWindow(self._limit, 0, float(self._seconds))
        (oldest,) = _unpack(moments)
        return RequestWindow(self._limit, len(moments) // _SIZE, oldest + self._seconds - now)

    def _find(self, who: str, now: float) -> bytearray | None:
        """The moments of `who` that still count; None for one who is not known."""
        if not self._turn_at - self._seconds <= now < self._turn_at:
            self._turn(now)
        moments = self._recent.get(who)
        if moments is None:
            moments = self._older.pop(who, None)
            if moments is None:
                return None if who == _SHARED or self._key(who) == who else self._find(_SHARED, now)
            self._recent[who] = moments
        since = now - self._seconds
        if moments and _unpack(moments)[0] < since:
            with memoryview(moments) as raw, raw.cast("d") as all_moments:
                gone = bisect_left(all_moments, since)
            del moments[: gone * _SIZE]
        return moments

    def _key(self, who: str) -> str:
        return who if len(self._recent) < MAX_KEYS else _SHARED

    def _turn(self, now: float) -> None:
        if now >= self._turn_at:  # a clock that was put back drops nothing
            self._older = self._recent
            self._recent = {}
        self._turn_at = now + self._seconds


class SlidingCounters:
    """What each key spent in the current fixed window and in the one before."""

    def __init__(self, limit: int, seconds: int) -> None:
        self._limit = limit
        self._seconds = seconds
        self._index = 0
        self._current: dict[str, int] = {}
        self._previous: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    def take(self, who: str, now: float, cost: int, *, at_most: bool = False) -> Taken | None:
        """Charge `cost`, or, with `at_most`, all that is left; else None: it doesn't fit."""
        who = self._key(who, now)
        current, ends_in = self._current.get(who, 0), rest_of_window(now, self._seconds)
        left = left_of(self._limit, self._seconds, self._previous.get(who, 0), current, ends_in)
        if cost > left:
            if not at_most:
                return None
            cost = left
        if cost:
            self._current[who] = current + cost
        return left - cost, ends_in

    def give_back(self, who: str, now: float, cost: int) -> None:
        """Undo the `take` of this moment."""
        who = self._key(who, now)
        self._current[who] -= cost
        if not self._current[who]:
            del self._current[who]

    def look(self, who: str, now: float) -> TokenWindow:
        who = self._key(who, now)
        previous, current = self._previous.get(who, 0), self._current.get(who, 0)
        return TokenWindow(self._limit, self._seconds, previous, current, rest_of_window(now, self._seconds))

    def _key(self, who: str, now: float) -> str:
        index = int(now / self._seconds)
        if index != self._index:
            self._turn(index)
        if len(self._current) < MAX_KEYS or who in self._current:
            return who
        return _SHARED

    def _turn(self, index: int) -> None:
        """A clock that steps back over a window's end gives nobody a new budget; one that was far off starts anew."""
        if index == self._index - 1:
            return
        self._previous = self._current if index == self._index + 1 else {}
        self._current = {}
        self._index = index


class MemoryBudgets:
    """The windows of every budget, by budget."""

    def __init__(self, budgets: Sequence[Budget]) -> None:
        exact = [budget for budget in budgets if not budget.counted]
        counted = [budget for budget in budgets if budget.counted]
        self._counters = {one: [SlidingCounters(one.limit, one.seconds) for _ in range(SHARDS)] for one in counted}
        self._windows: dict[Budget, Sequence[MovingWindows | SlidingCounters]] = {
            **{one: [MovingWindows(one.limit, one.seconds) for _ in range(SHARDS)] for one in exact},
            **self._counters,
        }
        self._shards = SHARDS

    def admit(self, charges: Sequence[Charge]) -> Admission:
        """Charge all of `charges`, or none and say when they fit."""
        now = time.time()
        taken: list[Taken] = []
        for budget, who, cost in charges:
            took = self._window(budget, who).take(who, now, cost)
            if took is None:
                return self._refuse(charges, len(taken), now)
            taken.append(took)
        return admission(charges, taken)

    def settle(self, budget: Budget, who: str, cost: int) -> None:
        """Charge `cost`, or all that is left, to a budget that is counted."""
        self._counters[budget][hash(who) % self._shards].take(who, time.time(), cost, at_most=True)

    def _refuse(self, charges: Sequence[Charge], taken: int, now: float) -> Admission:
        for budget, who, cost in charges[:taken]:
            self._window(budget, who).give_back(who, now, cost)
        return refusal(charges, [self._window(budget, who).look(who, now) for budget, who, _ in charges])

    def _window(self, budget: Budget, who: str) -> MovingWindows | SlidingCounters:
        return self._windows[budget][hash(who) % self._shards]

    def __len__(self) -> int:
        """Keys held, of all budgets."""
        return sum(len(window) for shards in self._windows.values() for window in shards)
