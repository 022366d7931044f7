"""What the app receives: the body that was judged, byte for byte, and then whatever becomes of the connection.

Only a POST's is judged. That of a GET or a DELETE means nothing to MCP, so the app finds it empty.
"""

import math
from collections.abc import Awaitable, Callable

import anyio
from starlette.types import Message as Event
from starlette.types import Receive

from garrison.guard.types import Message

Lease = Callable[[], Awaitable[float]]
"""Seconds for which the caller's token is good without asking again; none, if it is good no more."""


class Inbound:
    """Stands in for `receive`.

    Args:
        lifetime: seconds after which the app is told that the client has gone, for an answer that goes on as long as
            the connection does: nobody is told anything on a token that has expired. None for no such end.
        lease: asked again each time that it ends, for a token that may be revoked before it expires.

    Attributes:
        expired: whether that has happened.
    """

    def __init__(
        self, message: Message | None, receive: Receive, lifetime: float | None, lease: Lease | None = None
    ) -> None:
        self._body: bytes | None = message.body if message else b""
        self._receive = receive
        self._deadline = None if lifetime is None else anyio.current_time() + lifetime
        self._lease = lease
        self._leased_until = -math.inf
        self.expired = False

    async def receive(self) -> Event:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body}
        if self._deadline is None:
            return await self._later()
        while until := await self._open_until(self._deadline):
            with anyio.move_on_after(until - anyio.current_time()):
                return await self._later()
        self.expired = True
        return {"type": "http.disconnect"}

    async def _later(self) -> Event:
        while (event := await self._receive())["type"] == "http.request":
            pass  # of a body that nobody has judged
        return event

    async def _open_until(self, deadline: float) -> float | None:
        """Until when the stream may stay open as far as is known now; None if it must end."""
        now = anyio.current_time()
        if self._lease and now < deadline and now >= self._leased_until:
            self._leased_until = now + await self._lease()
        until = min(deadline, self._leased_until) if self._lease else deadline
        return until if until > now else None
