"""News of lists and resources: what the local client wants to hear, asked of the remote server in its era's way.

Up to MCP 2025-11-25 lists announce themselves and resources are subscribed to one by one; from 2026-07-28 on both come
in one stream that names what it wants (`subscriptions/listen`), opened anew whenever that changes or it breaks.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.client.subscriptions import Subscription, SubscriptionLost
from mcp.types import CONNECTION_CLOSED, ServerCapabilities

from garrison.base.errors import GarrisonError
from garrison.base.events import one_line
from garrison.clients.link import Link
from garrison.clients.session import Session
from garrison.clients.wire import is_modern

log = logging.getLogger("garrison.bridge")

KINDS = ("tools", "prompts", "resources")
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Changes:
    """What one client listens to.

    Args:
        tasks: where the remote stream is listened to.
        link: to the remote server.
        tell: called with the method and the parameters of a notification that must be presumed to have been missed.
    """

    def __init__(
        self, tasks: TaskGroup, link: Link, tell: Callable[[str, dict[str, Any] | None], Awaitable[None]]
    ) -> None:
        self._tasks = tasks
        self._link = link
        self._tell = tell
        self._kinds: Counter[str] = Counter()
        self._uris: Counter[str] = Counter()
        self._listening: anyio.CancelScope | None = None

    async def want(self, kinds: Iterable[str], uris: Iterable[str]) -> None:
        """Listen to these too. Raises `GarrisonError` where the server refuses."""
        new = [uri for uri in uris if not self._uris[uri]]
        self._kinds.update(kinds)
        self._uris.update(uris)
        await self._ask("resources/subscribe", new)

    async def leave(self, kinds: Iterable[str], uris: Iterable[str]) -> None:
        """Take back one `want` of each."""
        self._kinds.subtract(kinds)
        self._uris.subtract(uris)
        self._kinds, self._uris = +self._kinds, +self._uris
        await self._ask("resources/unsubscribe", [uri for uri in uris if not self._uris[uri]])

    async def renewed(self, session: Session) -> None:
        """Say everything again to a server that has forgotten it, and that nobody heard for a while."""
        try:
            if not is_modern(session.client.protocol_version):
                await self._ask("resources/subscribe", list(self._uris))
            await self._presume_missed(session.client.server_capabilities)
        except (GarrisonError, MCPError) as error:
            log.warning("the subscriptions could not be renewed: %s", one_line(str(error)))

    async def _ask(self, method: str, uris: list[str]) -> None:
        async with self._link.session() as session:
            modern, can = is_modern(session.client.protocol_version), session.client.server_capabilities
        if modern:
            self._listen_anew(can)
            return
        for uri in uris:
            await self._link.request(method, {"uri": uri})

    def _listen_anew(self, capabilities: ServerCapabilities) -> None:
        if self._listening:
            self._listening.cancel()
        self._listening = None
        kinds = frozenset(kind for kind in self._kinds if _announced(capabilities, kind))
        if kinds or self._uris:
            self._listening = anyio.CancelScope()
            self._tasks.start_soon(self._listen, self._listening, kinds, list(self._uris))

    async def _listen(self, scope: anyio.CancelScope, kinds: frozenset[str], uris: list[str]) -> None:
        pause, lost = _PAUSE, False
        with scope:
            while True:
                try:
                    async with self._link.session() as session, _stream(session, kinds, uris) as stream:
                        if lost:
                            await self._presume_missed(session.client.server_capabilities)
                        pause = _PAUSE
                        async for _ in stream:
                            pass  # the session's message handler hears the same
                except MCPError as error:
                    if error.code != CONNECTION_CLOSED:
                        log.info("the server announces no changes: %s", one_line(error.message))
                        return
                except (SubscriptionLost, GarrisonError, TimeoutError) as error:
                    log.info("the stream of changes broke off: %s", one_line(str(error)))
                lost = True
                await anyio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _presume_missed(self, capabilities: ServerCapabilities) -> None:
        for kind in KINDS:
            if self._kinds[kind] and _announced(capabilities, kind):
                await self._tell(f"notifications/{kind}/list_changed", None)
        for uri in self._uris:
            await self._tell("notifications/resources/updated", {"uri": uri})


def _announced(capabilities: ServerCapabilities, kind: str) -> bool:
    capability = getattr(capabilities, kind)
    return capability is not None and bool(capability.list_changed)


def _stream(session: Session, kinds: frozenset[str], uris: list[str]) -> AbstractAsyncContextManager[Subscription]:
    return session.client.listen(
        tools_list_changed="tools" in kinds,
        prompts_list_changed="prompts" in kinds,
        resources_list_changed="resources" in kinds,
        resource_subscriptions=uris,
    )
