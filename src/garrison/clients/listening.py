"""The local client's `subscriptions/listen` (MCP 2026-07-28), as the bridge serves it."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ServerEvent, SubscriptionBus
from mcp.types import SubscriptionsListenRequestParams, SubscriptionsListenResult

from garrison.clients.changes import KINDS, Changes
from garrison.clients.local import Context

MAX_KEPT = 100
"""News that wait for a stream that is being opened; the oldest give way."""


class Listening:
    """Serves the local client's streams of news. `changes` is told what each of them wants to hear."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._bus = InMemorySubscriptionBus()

    async def publish(self, event: ServerEvent) -> None:
        await self._bus.publish(event)

    async def serve(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """One stream, for as long as the client wants it. Raises `GarrisonError` where the server refuses."""
        wanted = params.notifications
        kinds = [kind for kind in KINDS if getattr(wanted, f"{kind}_list_changed")]
        news = _FromNowOn(self._bus)
        try:
            async with self._wanting(kinds, [str(uri) for uri in wanted.resource_subscriptions or []]):
                return await ListenHandler(news)(ctx, params)
        finally:
            news.close()

    @asynccontextmanager
    async def _wanting(self, kinds: Iterable[str], uris: Iterable[str]) -> AsyncIterator[None]:
        await self._changes.want(kinds, uris)
        try:
            yield
        finally:
            with anyio.move_on_after(5, shield=True):
                await self._changes.leave(kinds, uris)


class _FromNowOn:
    """`bus`, where a later listener hears what has been published since this was made.

    A server may have news before it has answered that it will tell them.
    """

    def __init__(self, bus: SubscriptionBus) -> None:
        self._kept: deque[ServerEvent] = deque(maxlen=MAX_KEPT)
        self._listener: Callable[[ServerEvent], Any] = self._kept.append
        self._publish = bus.publish
        self.close = bus.subscribe(self._deliver)

    async def publish(self, event: ServerEvent) -> None:
        await self._publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        for event in self._kept:
            listener(event)
        self._listener = listener
        return self.close

    def _deliver(self, event: ServerEvent) -> None:
        self._listener(event)
