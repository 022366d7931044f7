"""The response on its way back: streamed, never gathered; counted, so that the budget is charged what it really cost.

A started response can't be refused any more, so nothing here decides.
"""

from collections.abc import Callable, Sequence

from starlette.types import Message, Send

from garrison.guard.types import CORRELATION_ID, SESSION_ID

_CORRELATION_ID, _SESSION_ID = CORRELATION_ID.encode(), SESSION_ID.encode()
_REPLACED = frozenset({_CORRELATION_ID, b"ratelimit", b"ratelimit-policy", b"expires", b"pragma", b"surrogate-control"})
_UNCACHED = [(b"cache-control", b"private, no-store, no-transform"), (b"vary", b"authorization")]
"""RFC 9111 §5.2.2: what one caller may see is for no cache on the way, whatever RFC 9213 header tells some of them."""


class ResponseWatch:
    """Stands in for `send`.

    Args:
        bind_session: makes an app's session id the caller's own.
        headers: sent along.
        count: AI tokens of a part of the body.

    Attributes:
        status: HTTP status; 0 before the response has started.
        size: bytes of body so far.
        tokens: AI tokens of body so far.
    """

    def __init__(
        self,
        send: Send,
        correlation_id: str,
        bind_session: Callable[[str], str],
        headers: Sequence[tuple[bytes, bytes]],
        count: Callable[[bytes], int],
    ) -> None:
        self._send = send
        self._correlation_id = correlation_id
        self._bind_session = bind_session
        self._added = headers
        self._count = count
        self.status = self.size = self.tokens = 0
        self._complete = False

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.status = int(message["status"])  # the SDK's is an HTTPStatus, which is no scalar of an event
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        elif kind == "http.response.body":
            body = message.get("body", b"")
            self.size += len(body)
            self.tokens += self._count(body)
            self._complete = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """Close a started stream that the app left open, so that the client sees an end and no broken connection."""
        if self.status and not self._complete:
            await self._send({"type": "http.response.body", "body": b""})

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        sent = []
        for name, value in headers:
            lowered = name.lower()
            if lowered == _SESSION_ID:
                sent.append((_SESSION_ID, self._bind_session(value.decode("latin-1")).encode("latin-1")))
            elif lowered not in _REPLACED and not lowered.endswith(b"cache-control"):
                sent.append((name, value))
        return [*sent, *_UNCACHED, *self._added, (_CORRELATION_ID, self._correlation_id.encode())]
