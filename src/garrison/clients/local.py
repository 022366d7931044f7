"""The local client of a bridge: what it said of itself, and how it is spoken to.

Up to MCP 2025-11-25 it must not be spoken to before it has said that it is `initialized`: until then a server's
questions wait, and so do its notifications, some of each.
"""

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp import MCPError, types
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from pydantic import ValidationError

from garrison.base.events import one_line
from garrison.clients.wire import AnyNotification, AnyRequest, AnyResult, is_modern

log = logging.getLogger("garrison.bridge")

Context = ServerRequestContext[Any, Any]
MAX_EARLY = 100
"""Questions, and notifications, that wait for the client."""
_HANDSHAKE = frozenset({"initialize", "ping"})


@dataclass
class Local:
    """The local client: what it said of itself, and how to speak to it."""

    session: ServerSession | None = None
    version: str = ""
    info: types.Implementation | None = None
    capabilities: types.ClientCapabilities = field(default_factory=types.ClientCapabilities)
    log_level: str | None = None

    _ready: anyio.Event = field(default_factory=anyio.Event)
    _asking: int = 0
    _early: deque[AnyNotification] = field(default_factory=deque)

    @property
    def modern(self) -> bool:
        return is_modern(self.version)

    async def hear(self, ctx: Context) -> None:
        """Learn from a request; MCP 2026-07-28 says everything in each, before that the first one does."""
        self.session, self.version = ctx.session, ctx.protocol_version
        if ctx.method == "initialize":
            try:
                said = types.InitializeRequestParams.model_validate(ctx.params or {}, by_name=False)
            except ValidationError:
                return  # the SDK answers that
            self.info, self.capabilities = said.client_info, said.capabilities
        elif self.modern:
            self.capabilities = ctx.session.client_capabilities or self.capabilities
            self.info = ctx.session.client_params.client_info if ctx.session.client_params else self.info
            self.log_level = ((ctx.params or {}).get("_meta") or {}).get(types.LOG_LEVEL_META_KEY, self.log_level)
        if self.modern or ctx.method not in _HANDSHAKE:
            await self.begin()

    async def begin(self) -> None:
        """Say what has waited, and no longer wait: the client may be spoken to."""
        self._ready.set()
        while self._early and self.session:
            await self._send(self._early.popleft())

    async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """Its answer to a request of the remote server's. Raises `MCPError`."""
        if self._asking >= MAX_EARLY:
            raise MCPError(types.INVALID_REQUEST, "the client is not there yet, and too many questions wait for it")
        self._asking += 1
        try:
            await self._ready.wait()
        finally:
            self._asking -= 1
        if self.session is None:
            raise MCPError(types.INVALID_REQUEST, "the client is not there")
        request: Any = AnyRequest(method=method, params=params)
        return (await self.session.send_request(request, AnyResult)).model_dump()

    async def tell(self, method: str, params: dict[str, Any] | None) -> None:
        """Hand on a notification; log messages only if it asked for them (MCP 2026-07-28, logging)."""
        if method == "notifications/message" and self.modern and not self.log_level:
            return
        said = dict(params or {})
        meta = {key: value for key, value in (said.pop("_meta", None) or {}).items() if key != SUBSCRIPTION_ID_META_KEY}
        notification = AnyNotification(method=method, params={**said, **({"_meta": meta} if meta else {})} or None)
        if self._ready.is_set():
            await self._send(notification)
        elif len(self._early) < MAX_EARLY:
            self._early.append(notification)
        else:
            log.warning("dropped, as the client is not there yet: %s", one_line(method))

    async def _send(self, notification: Any) -> None:
        if self.session:
            await self.session.send_notification(notification)


def progress_of(ctx: Context) -> ProgressFnT | None:
    """What hands on the remote server's progress; None if the client wants none."""
    token = ((ctx.params or {}).get("_meta") or {}).get("progressToken")
    if token is None:
        return None

    async def hand_on(progress: float, total: float | None, message: str | None) -> None:
        said = types.ProgressNotificationParams(progress_token=token, progress=progress, total=total, message=message)
        await ctx.session.send_notification(types.ProgressNotification(params=said), related_request_id=ctx.request_id)

    return hand_on
