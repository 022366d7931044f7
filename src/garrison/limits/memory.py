"""The `limits` library's memory storage, swept seldom and in small steps.

As it comes, each hit starts a sweep over the keys of all callers, with a trip to a thread for every one of them, so
that the more callers there were, the more a request costs. Here a sweep starts at most once in `SWEEP_SECONDS`, stays
in the event loop, and lets others run between its steps. Nothing is admitted by what a sweep has not yet thrown away:
the windows themselves look at the time of each entry.
"""

import asyncio
import time
from bisect import bisect_left
from typing import Any

from limits.aio.storage import MemoryStorage

SWEEP_SECONDS = 10.0
STEP = 256
"""Keys looked at before others get their turn."""


class SweptMemory(MemoryStorage):
    """Memory for the keys of the last window, and of no caller who has been away for longer."""

    def __init__(self) -> None:
        super().__init__()
        self._next_sweep = time.monotonic() + SWEEP_SECONDS

    # The names are those that Python gives the library's own two methods, which it calls by them.

    async def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802
        now = time.monotonic()
        if now >= self._next_sweep and (self.timer is None or self.timer.done()):
            self._next_sweep = now + SWEEP_SECONDS
            self.timer = asyncio.create_task(self._MemoryStorage__expire_events())

    async def _MemoryStorage__expire_events(self) -> None:  # noqa: N802
        for number, key in enumerate([*self.events, *self.expirations], start=1):
            self._sweep(key, time.time())
            if number % STEP == 0:
                await asyncio.sleep(0)

    def _sweep(self, key: str, now: float) -> None:
        lock = self.locks.get(key)
        if lock is not None and lock.locked():
            return  # in use, so far from forgotten
        entries: list[Any] = self.events.get(key, [])
        del entries[bisect_left(entries, -now, key=lambda entry: -entry.expiry) :]  # newest first
        if not entries:
            self.events.pop(key, None)
        if key in self.expirations and self.expirations[key] <= now:
            self.storage.pop(key, None)
            self.expirations.pop(key, None)
        if key not in self.events and key not in self.storage:
            self.locks.pop(key, None)
