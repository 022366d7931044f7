"""uvicorn's HTTP connection with bounds on what stands before a body: how long it may be, and how long it may take.

httptools reads a request line and headers of any length, and waits for them for ever; no token is needed for that.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 32_768
"""Request line and headers together; trailers too."""
HEAD_SECONDS = 10.0
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedConnection(HttpToolsProtocol):
    """One connection. The head is what comes before the body; its clock starts with the connection or first byte."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._head_bytes = 0
        self._in_head = True
        self._patience: asyncio.TimerHandle | None = None
        super().__init__(*args, **kwargs)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own signature
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(_TOO_LARGE)
            else:
                self._watch()  # most heads come in one piece, and need no clock

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._end_head()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        # RFC 9110 §5.5: white space around a value is no part of it; httptools leaves what follows it.
        super().on_header(name, value.strip(b" \t"))
        if not self._in_head:  # a trailer
            self._head_bytes += len(name) + len(value)
            if self._head_bytes > HEAD_BYTES:
                raise ValueError("too many trailers")

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def _watch(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._refuse, _TOO_SLOW)

    def _end_head(self) -> None:
        self._in_head = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, answer: bytes) -> None:
        self._end_head()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
