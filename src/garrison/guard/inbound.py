"""What the app receives: the body again, byte for byte, and then whatever becomes of the connection."""

import anyio
from starlette.types import Message as Event
from starlette.types import Receive

from garrison.guard.types import Message


class Inbound:
    """Stands in for `receive`.

    Args:
        lifetime: seconds after which the app is told that the client has gone, for an answer that goes on as long as
            the connection does: nobody is told anything on a token that has expired. None for no such end.

    Attributes:
        expired: whether that has happened.
    """

    def __init__(self, message: Message | None, receive: Receive, lifetime: float | None) -> None:
        self._body = message.body if message else None
        self._receive = receive
        self._deadline = None if lifetime is None else anyio.current_time() + lifetime
        self.expired = False

    async def receive(self) -> Event:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body}
        if self._deadline is None:
            return await self._receive()
        with anyio.move_on_after(self._deadline - anyio.current_time()):
            return await self._receive()
        self.expired = True
        return {"type": "http.disconnect"}
