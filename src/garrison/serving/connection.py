"""uvicorn's HTTP connection with bounds: how long a head may be, how long a request may take, how many connect at once.

httptools reads a request line and headers of any length, and waits for them and for the body for ever; no token is
needed for that. How long an answer takes is not bounded here: streams last.
"""

import asyncio
import logging
from dataclasses import dataclass
from time import monotonic
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 32_768
"""Of a head, request line and headers together. A head that comes before the last request is answered may be twice as
long, and so may what is neither head nor body: chunks' extensions, trailers."""
HEAD_SECONDS = 10.0
WARNING_SECONDS = 60.0
LINGER_SECONDS = 5.0
"""For the rest of a request that is answered already: whoever still sends gets to read the answer."""
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 5\r\nconnection: close\r\n\r\n"


class _Seldom(logging.Filter):
    """Lets one warning through in `WARNING_SECONDS`: any stranger can have them written. Errors are ours, and pass."""

    _next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        now = monotonic()
        if now < self._next:
            return False
        self._next = now + WARNING_SECONDS
        return True


_log = logging.getLogger("uvicorn.error.connection")
_log.setLevel(logging.WARNING)
_log.addFilter(_Seldom())


@dataclass(frozen=True)
class Bounds:
    """What one server's connections may take.

    Attributes:
        body_seconds: that a request may take from its head to its end.
        connections: at once; those beyond are answered 503 and closed.
    """

    body_seconds: float = 120.0
    connections: int = 1000


class BoundedConnection(HttpToolsProtocol):
    """One connection. The head is what comes before the body; its clock starts with the connection or first byte."""

    def __init__(self, bounds: Bounds, *args: Any, **kwargs: Any) -> None:
        self._bounds = bounds
        self._bare_bytes = 0  # since the head began, or since its end, or since the last of the body
        self._in_head = True
        self._in_body = False
        self._patience: asyncio.TimerHandle | None = None
        super().__init__(*args, **kwargs)
        self.logger = _log

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own signature
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self._bounds.connections:
            self._refuse(_TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not (self._in_head or self._in_body or self.transport.is_closing()) and self.cycle.response_complete:
            self._begin_head()  # line ends between two requests, which begin none, don't keep the connection either
        fed = 0
        while len(data) - fed > (room := HEAD_BYTES - self._bare_bytes) and not self.transport.is_closing():
            self._feed(data[fed : fed + room])
            fed += room
        if not self.transport.is_closing():
            self._feed(data[fed:])

    def _feed(self, data: bytes) -> None:
        """No more than may be a head: httptools tells the end of one in what it is given, but not where it was."""
        self._bare_bytes += len(data)
        super().data_received(data)
        if self._bare_bytes >= HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._in_body and self._patience is None:  # a body that came with its head needs no clock
            self._patience = self.loop.call_later(self._bounds.body_seconds, self._give_up_body)
        elif self._in_head:
            self._watch()  # most heads come in one piece, and need no clock

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._begin_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        # RFC 9110 §6.5.1: a trailer is no header; one that a proxy let through would speak for the proxy.
        if self._in_head:
            # RFC 9110 §5.5: white space around a value is no part of it; httptools leaves what follows it.
            super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        self._end_head()
        self._in_body = True
        self._bare_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bare_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._patience is not None:
            self._stop_clock()
        super().on_message_complete()
        if self.cycle.response_complete and not self.pipeline and self.timeout_keep_alive_task is None:
            # The answer was there before the request: uvicorn's clock stopped when more of the request came.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self._stop_clock()
            self._patience = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _give_up_body(self) -> None:
        self._refuse(_TOO_SLOW)

    def _begin_head(self) -> None:
        if self._patience is not None:
            self._stop_clock()
        self._in_head, self._bare_bytes = True, 0

    def _watch(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._refuse, _TOO_SLOW)

    def _end_head(self) -> None:
        self._in_head = False
        if self._patience is not None:
            self._stop_clock()

    def _stop_clock(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, answer: bytes) -> None:
        self._end_head()
        if not self.transport.is_closing():
            if not self._is_answered():
                self.transport.write(answer)
            self.transport.close()

    def _is_answered(self) -> bool:
        """Whether what came last has its answer, or an answer is under way that another would run into."""
        cycle = self.cycle
        if not cycle:  # type: ignore[truthy-bool]  # there is none before the first request
            return False
        return cycle.response_started and (self._in_body or not cycle.response_complete)
