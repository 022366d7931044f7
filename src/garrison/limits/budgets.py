"""Both budgets of a principal on one store of the `limits` library: admit before the act, settle after it.

Each call reads both windows and charges them only if it fits both, so a refused call eats no budget. The library can't
charge two windows in one step. Two calls in the same instant may both see room that is there for one; the later is then
refused by the window it no longer fits, and if that is the tokens' window its one request stays charged. It errs
towards refusing.
"""

import asyncio
import time
from dataclasses import dataclass
from math import isinf
from typing import Literal

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from garrison.limits.settings import LimitSettings
from garrison.limits.windows import RequestWindow, TokenWindow, whole_seconds

_SETTLE_TRIES = 16
"""A settlement is refused only when another charge was quicker, and each such charge leaves less to fight over."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a call may go on, and the budget that decided it; `requests` for an admitted call.

    Attributes:
        limit: of that budget: requests a minute, tokens an hour.
        remaining: what is left of it; calls in flight at the same moment may have taken it already.
        reset_after: seconds until some of it comes back; for a refused call, until that call fits.
        retry_after: whole seconds after which the same call fits, if nobody spends more meanwhile; 0 when allowed.
        never: the call costs more than the whole budget; no wait helps, and `retry_after` is just the window's length.
    """

    allowed: bool
    budget: Literal["requests", "tokens"]
    limit: int
    remaining: int
    reset_after: float
    retry_after: int = 0
    never: bool = False


class Budgets:
    """The budgets of all principals on `storage`. `who` is a key without structure: limiter.py hashes the principal."""

    def __init__(self, storage: MemoryStorage | RedisStorage, settings: LimitSettings) -> None:
        self._storage = storage
        self._per_minute = RateLimitItemPerMinute(settings.requests_per_minute, namespace="requests")
        self._per_hour = RateLimitItemPerHour(settings.tokens_per_hour, namespace="tokens")
        self._requests = MovingWindowRateLimiter(storage)
        self._tokens = SlidingWindowCounterRateLimiter(storage)

    async def admit(self, who: str, tokens: int) -> Admission:
        """Charge one request and `tokens`, at least one, so that a spent token budget refuses every call."""
        cost = max(1, tokens)
        requests = await self._request_window(who)
        refusal = _refusal(requests, await self._token_window(who), cost)
        if refusal is not None:
            return refusal
        if await self._requests.hit(self._per_minute, who) and await self._tokens.hit(self._per_hour, who, cost=cost):
            return Admission(True, "requests", requests.limit, requests.left - 1, requests.oldest_leaves_in)
        return await self._outrun(who, cost)

    async def settle(self, who: str, tokens: int) -> None:
        """Charge `tokens` that were spent already: all of them, or all that is left."""
        for _ in range(_SETTLE_TRIES):
            cost = min(tokens, (await self._token_window(who)).left)
            if cost < 1 or await self._tokens.hit(self._per_hour, who, cost=cost):
                return

    async def aclose(self) -> None:
        """Stop the memory store's sweeper."""
        timer = self._storage.timer if isinstance(self._storage, MemoryStorage) else None
        if timer is not None:
            timer.cancel()
            await asyncio.wait([timer])

    async def _outrun(self, who: str, cost: int) -> Admission:
        """A refusal for a call that saw room which a quicker one took."""
        requests = await self._request_window(who)
        refusal = _refusal(requests, await self._token_window(who), cost)
        return refusal or Admission(False, "requests", requests.limit, requests.left, 1.0, retry_after=1)

    async def _request_window(self, who: str) -> RequestWindow:
        length = self._per_minute.get_expiry()
        key = self._per_minute.key_for(who)
        oldest, used = await self._storage.get_moving_window(key, self._per_minute.amount, length)
        leaves_in = oldest + length - time.time() if used else float(length)
        return RequestWindow(self._per_minute.amount, used, leaves_in)

    async def _token_window(self, who: str) -> TokenWindow:
        length = self._per_hour.get_expiry()
        previous, previous_ttl, current, current_ttl = await self._storage.get_sliding_window(
            self._per_hour.key_for(who), length
        )
        ends_in = previous_ttl if previous else max(0.0, current_ttl - length)
        return TokenWindow(self._per_hour.amount, length, previous, current, ends_in)


def _refusal(requests: RequestWindow, tokens: TokenWindow, cost: int) -> Admission | None:
    """None when the call fits both windows; else the refusal by the one that it must wait for longer."""
    for_requests, for_tokens = requests.wait(), tokens.wait(cost)
    if for_tokens is not None and isinf(for_tokens):
        return Admission(
            False, "tokens", tokens.limit, tokens.left, float(tokens.length), retry_after=tokens.length, never=True
        )
    if for_tokens is not None and for_tokens >= (for_requests or 0.0):
        return Admission(False, "tokens", tokens.limit, tokens.left, for_tokens, whole_seconds(for_tokens))
    if for_requests is not None:
        return Admission(False, "requests", requests.limit, requests.left, for_requests, whole_seconds(for_requests))
    return None
