"""Budgets of requests and AI tokens: of principals, their tools, their clients, and of strangers' addresses.

While Redis is down, each process counts for itself, from zero; so n processes admit up to n times the limit for as long
as it lasts. Where that is too much, `on_store_failure="refuse"`.
"""

import time
from collections.abc import Awaitable, Callable, Sequence

from garrison.base.clock import Clock
from garrison.limits.budgets import Admission, Budget, Charge
from garrison.limits.memory import MemoryBudgets
from garrison.limits.settings import LimitSettings
from garrison.limits.shared import SharedBudgets, StoreDownError
from garrison.limits.slots import Slots
from garrison.limits.tokens import COUNTERS

__all__ = ["Admission", "Limiter", "StoreDownError"]

MINUTE, HOUR = 60, 3600


class Limiter:
    """Admits calls, and settles what they really cost.

    Args:
        settings: the limits.
        clock: seconds, only to decide when to probe a Redis that is down; the windows run on `time.time` or on Redis's
            own clock.
        on_failure: awaited once for each outage of Redis with a sentence for the log. What it raises reaches the caller
            of `admit`, and the outage counts as unreported.

    Attributes:
        requests, tokens, strangers: the budgets of every principal, and of every address of strangers.
        tools: the names of those tools that have a budget of their own.
        calls, streams: what a principal has going in this process.
        bodies: what of a principal is still being read; as many as calls.
        count: AI tokens of a text, by `settings.token_counter`.

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
        self.requests = Budget("requests", settings.requests_per_minute, MINUTE)
        self.tokens = Budget("tokens", settings.tokens_per_hour, HOUR, counted=True)
        self._tools = {name: Budget("tool", limit, MINUTE, of=name) for name, limit in settings.tools.items()}
        self.tools = frozenset(settings.tools)
        limit = settings.client_requests_per_minute
        self._client = Budget("client", limit, MINUTE) if limit else None
        self.strangers = Budget("address", settings.stranger_requests_per_minute, MINUTE)
        self._documents = Budget("documents", settings.stranger_requests_per_minute, MINUTE)
        self._refused = Budget("refused", settings.requests_per_minute, MINUTE)
        self.calls = Slots(settings.concurrent_calls)
        self.streams = Slots(settings.open_streams)
        self.bodies = Slots(settings.concurrent_calls)
        self.count = COUNTERS[settings.token_counter]
        clients = [self._client] if self._client else []
        self._local = MemoryBudgets(
            [
                self.requests,
                self.tokens,
                *self._tools.values(),
                *clients,
                self.strangers,
                self._documents,
                self._refused,
            ]
        )
        url = settings.redis_url
        self._shared = SharedBudgets(url, clock, on_failure) if url else None

    async def admit(self, principal: str, tokens: int, *, client: str = "", tool: str = "") -> Admission:
        """Charge one request and `tokens`, at least one, so that a spent token budget refuses every call; or nothing.

        Args:
            principal: whose budgets; of bounded length.
            tokens: AI tokens that the call is thought to cost.
            client: the client that the principal uses, if all of its users share a budget.
            tool: the tool that is called, if it is one.

        Raises:
            StoreDownError: Redis can't be asked, and calls are refused for that (`on_store_failure`).
        """
        charges: list[Charge] = [(self.requests, principal, 1), (self.tokens, principal, max(1, tokens))]
        if tool in self._tools:
            charges.append((self._tools[tool], principal, 1))
        if client and self._client:
            charges.append((self._client, client, 1))
        return self._local.admit(charges) if self._shared is None else await self._admit(charges)

    async def admit_stranger(self, address: str, *, documents: bool = False) -> Admission:
        """Charge `address` one request that nobody vouches for; one for the public `documents` has its own budget."""
        return await self._admit([(self._documents if documents else self.strangers, address, 1)], is_call=False)

    async def admit_refused(self, principal: str) -> Admission:
        """Charge `principal` one request that was refused before `admit` could charge it."""
        return await self._admit([(self._refused, principal, 1)], is_call=False)

    async def settle(self, principal: str, tokens: int) -> None:
        """Charge what the act cost beyond what `admit` charged; a budget that can't bear it goes to zero.

        Nothing is paid back: a negative or zero `tokens` changes nothing.
        """
        if tokens < 1:
            return None
        if self._shared is not None:
            try:
                return await self._shared.run(lambda budgets: budgets.settle(self.tokens, principal, tokens))
            except StoreDownError:
                pass  # the process's own budgets bear it
        return self._local.settle(self.tokens, principal, tokens)

    async def aclose(self) -> None:
        if self._shared is not None:
            await self._shared.aclose()

    async def _admit(self, charges: Sequence[Charge], *, is_call: bool = True) -> Admission:
        """What is no call reaches no tool: where calls are refused for an outage, it is counted here."""
        if self._shared is None:
            return self._local.admit(charges)
        try:
            return await self._shared.run(lambda budgets: budgets.admit(charges))
        except StoreDownError:
            if is_call and self._settings.on_store_failure == "refuse":
                raise
        return self._local.admit(charges)
