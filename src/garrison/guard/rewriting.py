"""JSON-RPC messages of a response on their way back, each handed to a function that may put another in its place.

A body of JSON is gathered whole; a stream of events is passed on event by event.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any

from starlette.types import Message, Send

MAX_GATHERED = 8 * 1024 * 1024
"""Bytes of one JSON-RPC message."""
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r(?!\Z)")
"""Any two line ends; a lone one last in a piece may be half of one."""
_LONGEST_END = 4
_LINE_END = re.compile(rb"\r\n|\n|\r")


Rewrite = Callable[[bytes], bytes]


class UnreadableError(Exception):
    """The app's response is too long, compressed, or not JSON."""


class Rewriter:
    """Stands in for `send`, in front of `send`.

    Args:
        rewrite: gets the JSON text of a message, and gives the text that goes on in its place.
        rename: gets an event's id, and gives the one that goes on in its place.
        lenient: whether what can't be gathered goes on as it is, instead of not at all.
        streams_only: whether what is no stream of events goes on as it is.
    """

    def __init__(
        self,
        send: Send,
        rewrite: Rewrite,
        *,
        rename: Rewrite | None = None,
        lenient: bool = False,
        streams_only: bool = False,
    ) -> None:
        self._send = send
        self._rewrite = rewrite
        self._rename = rename
        self._lenient = lenient
        self._streams_only = streams_only
        self._start: Message | None = None
        self._stream = False
        self._passing = False
        self._gathered = b""
        self._searched = 0

    async def send(self, message: Message) -> None:
        """Raises `UnreadableError`, unless lenient."""
        if self._passing:
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body" and self._stream:
            await self._pass_events(message)
        elif message["type"] == "http.response.body":
            await self._pass_whole(message)
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        for name, value in message.get("headers", ()):
            lowered = name.lower()
            if lowered == b"content-type":
                self._stream = value.lower().startswith(b"text/event-stream")  # RFC 9110 §8.3.1: in any case
            elif lowered == b"content-encoding":
                if not self._lenient:
                    raise UnreadableError("the response is compressed")
                self._passing = True
        self._passing = self._passing or (self._streams_only and not self._stream)
        if self._stream or self._passing:
            await self._send(message)
        else:
            self._start = message  # its content-length isn't known yet

    async def _pass_whole(self, message: Message) -> None:
        if not self._gather(message.get("body", b"")):
            if self._start is not None:
                await self._send(self._start)
            await self._send({**message, "body": self._gathered})
            return
        if message.get("more_body", False) or self._start is None:
            return
        body = self._rewrite(self._gathered) if self._gathered else b""
        if body is message.get("body"):  # it came in one piece and goes on as it came
            await self._send(self._start)
            await self._send(message)
            return
        kept = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        await self._send({**self._start, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
        await self._send({**message, "body": body})

    async def _pass_events(self, message: Message) -> None:
        if not self._gather(message.get("body", b"")):
            await self._send({**message, "body": self._gathered})
            return
        passed = b""
        while found := _EVENT_END.search(self._gathered, max(0, self._searched - _LONGEST_END)):
            event, self._gathered = self._gathered[: found.end()], self._gathered[found.end() :]
            self._searched = 0
            passed += self._rewrite_event(event)
        self._searched = len(self._gathered)
        # What is left at the end of the stream is no event: by its specification it is thrown away.
        await self._send({**message, "body": passed})

    def _gather(self, more: bytes) -> bool:
        """Whether it could be gathered; if not, everything goes on as it is from here."""
        self._gathered = self._gathered + more if self._gathered else more
        if len(self._gathered) <= MAX_GATHERED:
            return True
        if not self._lenient:
            raise UnreadableError("the response is too long")
        self._passing = True
        return False

    def _rewrite_event(self, event: bytes) -> bytes:
        # A reader drops the mark before the first line, and finds data where otherwise there would be none.
        lines = [line for line in _LINE_END.split(event.removeprefix(BOM_UTF8)) if line]
        data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
        others = [line for line in lines if not line.startswith(b"data:")]
        text = b"\n".join(data)
        rewritten = self._rewrite(text) if text.strip() else text
        renamed = [self._renamed(line) for line in others]
        if rewritten == text and renamed == others:
            return event
        told = [b"data: " + line for line in rewritten.split(b"\n")] if data else []
        return b"\n".join([*renamed, *told]) + b"\n\n"

    def _renamed(self, line: bytes) -> bytes:
        """`line` with another id, if it is an event's; an empty one is none."""
        given = line[3:].removeprefix(b" ") if line.startswith(b"id:") else b""
        return b"id: " + self._rename(given) if given and self._rename else line


def renaming(send: Send, rename: Rewrite) -> Send:
    """What stands in for `send`, in front of it, and gives the events of a stream other ids."""
    return Rewriter(send, _as_it_is, rename=rename, lenient=True, streams_only=True).send


def _as_it_is(text: bytes) -> bytes:
    return text


def rendered(document: Any) -> bytes:
    """JSON text of what was read; half a surrogate pair stays the escape that it came as."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
