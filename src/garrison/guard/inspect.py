"""The response on its way back: streamed, never gathered; counted, so that the budget is charged what it really cost.

A started response can't be refused any more, so nothing here decides.
"""

from collections.abc import Callable

from starlette.types import Message, Send

from garrison.guard.types import CORRELATION_ID, SESSION_ID
from garrison.limits.tokens import estimate_tokens

_CORRELATION_ID, _SESSION_ID = CORRELATION_ID.encode(), SESSION_ID.encode()
_CACHING = frozenset({b"expires", b"pragma", b"surrogate-control"})
_UNCACHED = [(b"cache-control", b"private, no-store, no-transform"), (b"vary", b"authorization")]
"""RFC 9111 §5.2.2: what one caller may see is for no cache on the way, whatever RFC 9213 header tells some of them."""


class ResponseWatch:
    """Stands in for `send`.

    Args:
        bind_session: makes an app's session id the caller's own.

    Attributes:
        status: HTTP status; 0 before the response has started.
        size: bytes of body so far.
        tokens: AI tokens of body so far, estimated.
    """

    def __init__(self, send: Send, correlation_id: str, bind_session: Callable[[str], str]) -> None:
        self._send = send
        self._correlation_id = correlation_id
        self._bind_session = bind_session
        self.status = self.size = self.tokens = 0
        self._complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            self.size += len(body)
            self.tokens += estimate_tokens(body)
            self._complete = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """Close a started stream that the app left open, so that the client sees an end and no broken connection."""
        if self.status and not self._complete:
            await self._send({"type": "http.response.body", "body": b""})

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        sent = [(_CORRELATION_ID, self._correlation_id.encode())]
        for name, value in headers:
            lowered = name.lower()
            if lowered == _SESSION_ID:
                sent.append((_SESSION_ID, self._bind_session(value.decode("latin-1")).encode("latin-1")))
            elif lowered != _CORRELATION_ID and lowered not in _CACHING and not lowered.endswith(b"cache-control"):
                sent.append((name, value))
        sent += _UNCACHED
        return sent
