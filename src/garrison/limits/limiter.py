"""Budgets of requests a minute and AI tokens an hour, per principal, in memory or in Redis.

While Redis is down, each process counts for itself, from zero; so n processes admit up to n times the limit for as long
as it lasts. Where that is too much, `on_store_failure="refuse"`.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable

from garrison.base.clock import Clock
from garrison.limits.budgets import Admission, Budgets
from garrison.limits.memory import SweptMemory
from garrison.limits.settings import LimitSettings
from garrison.limits.shared import SharedBudgets, StoreDownError
from garrison.limits.windows import whole_seconds

__all__ = ["Admission", "Limiter"]


class Limiter:
    """Admits calls, and settles what they really cost.

    Args:
        settings: the limits.
        clock: seconds, only to decide when to probe a Redis that is down; the windows run on the `limits` library's
            own clock, `time.time`.
        on_failure: awaited once for each outage of Redis with a sentence for the log. What it raises reaches the caller
            of `admit`, and the outage counts as unreported.

    Raises:
        UsageError: `redis_url` is no Redis URL, or the redis package is missing.
    """

    def __init__(
        self,
        settings: LimitSettings,
        *,
        clock: Clock = time.monotonic,
        on_failure: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._settings = settings
        self._local = Budgets(SweptMemory(), settings)
        url = settings.redis_url
        self._shared = SharedBudgets(url, settings, clock, on_failure) if url else None

    async def admit(self, principal: str, tokens: int) -> Admission:
        """Charge `principal` one request and `tokens`, or refuse and charge nothing."""
        who = _key(principal)
        if self._shared is None:
            return await self._local.admit(who, tokens)
        try:
            return await self._shared.run(lambda budgets: budgets.admit(who, tokens))
        except StoreDownError as down:
            if self._settings.on_store_failure == "refuse":
                return self._refused(down.retry_in)
        return await self._local.admit(who, tokens)

    async def settle(self, principal: str, tokens: int) -> None:
        """Charge what the act cost beyond what `admit` charged; a budget that can't bear it goes to zero.

        Nothing is paid back: a negative or zero `tokens` changes nothing.
        """
        who = _key(principal)
        if self._shared is not None:
            try:
                return await self._shared.run(lambda budgets: budgets.settle(who, tokens))
            except StoreDownError:
                pass  # the process's own budgets bear it
        return await self._local.settle(who, tokens)

    async def aclose(self) -> None:
        await self._local.aclose()
        if self._shared is not None:
            await self._shared.aclose()

    def _refused(self, retry_in: float) -> Admission:
        limit = self._settings.requests_per_minute
        return Admission(False, "requests", limit, 0, retry_in, whole_seconds(retry_in))


def _key(principal: str) -> str:
    """A key without structure, of one length, that doesn't tell Redis who it is."""
    return hashlib.sha256(principal.encode("utf-8", "surrogatepass")).hexdigest()
