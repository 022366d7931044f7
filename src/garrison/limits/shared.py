"""Budgets that several processes share in Redis, and what happens while it can't be reached.

An outage is reported once. While it lasts no call waits for Redis, but for one probe at a time, at growing intervals;
the first probe that works ends it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from garrison.base.clock import Clock
from garrison.limits.redis import RedisBudgets, StoreFailedError

T = TypeVar("T")

STORE_TIMEOUT = 3.0
"""Seconds a call may wait for Redis, all in all; in a burst most of it goes by in waiting for a free connection."""
_FIRST_PROBE, _LAST_PROBE = 1.0, 15.0
"""Seconds between probes: the first, doubling up to the last."""


class StoreDownError(Exception):
    """Redis can't be asked now; `retry_in` seconds until the next probe."""

    def __init__(self, retry_in: float) -> None:
        super().__init__("the shared store of the rate limits is down")
        self.retry_in = retry_in


class SharedBudgets:
    def __init__(self, url: str, clock: Clock, on_failure: Callable[[str], Awaitable[None]] | None) -> None:
        self._budgets = RedisBudgets(url)
        self._clock = clock
        self._on_failure = on_failure
        self._down = self._reported = False
        self._interval = _FIRST_PROBE
        self._probe_at = 0.0

    async def run(self, act: Callable[[RedisBudgets], Awaitable[T]]) -> T:
        """What `act` returns on the shared budgets.

        Raises:
            StoreDownError: Redis failed, or failed lately and isn't probed yet.
        """
        probing = self._down
        if probing:
            self._take_probe()
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                result = await act(self._budgets)
        except (StoreFailedError, TimeoutError) as error:
            await self._failed(error, probing=probing)
            raise StoreDownError(max(0.0, self._probe_at - self._clock())) from error
        if probing:
            self._down = self._reported = False
            self._interval = _FIRST_PROBE
        return result

    async def aclose(self) -> None:
        await self._budgets.aclose()

    def _take_probe(self) -> None:
        """Let this call be the probe if one is due; the others don't wait for its outcome."""
        now = self._clock()
        if now < self._probe_at:
            raise StoreDownError(self._probe_at - now)
        self._interval = min(self._interval * 2, _LAST_PROBE)
        self._probe_at = now + self._interval

    async def _failed(self, error: Exception, *, probing: bool) -> None:
        if not (self._down or probing):
            self._down = True
            self._probe_at = self._clock() + self._interval
        if self._reported or self._on_failure is None:
            return
        self._reported = True
        try:
            await self._on_failure(f"The rate limits' Redis can't be used: {str(error) or type(error).__name__}.")
        except BaseException:
            self._reported = False  # who couldn't store the report must hear of it again
            raise
