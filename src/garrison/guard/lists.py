"""Lists on their way back, cut to what the caller may use: what can't be called need not be known.

Only answers to list requests come through here, and the streams that such an answer could come on; everything else is
streamed untouched. A list is gathered whole, up to `MAX_LIST` bytes; one that can't be read doesn't pass (fail closed).
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Send

from garrison.guard.policy import Policy, Rule
from garrison.guard.types import Call, Caller
from garrison.oauth import scope

MAX_LIST = 8 * 1024 * 1024
METHODS = frozenset({"tools/list", "resources/list", "resources/templates/list", "prompts/list"})
_NAMES = {"tools": "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"}
"""The member of a result that holds a list, and the member of an entry that the policy knows it by."""
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class UnreadableListError(Exception):
    """The app's list is too long, compressed, or not JSON."""


def concerns(call: Call) -> bool:
    """Whether a list may be on its way: it was asked for, or this is the old era's stream of everything."""
    return call.message.method in METHODS if call.message else call.request.method == "GET"


class ListFilter:
    """Stands in for `send`, in front of `send`."""

    def __init__(self, send: Send, policy: Policy, caller: Caller) -> None:
        self._send = send
        self._rules: Mapping[str, Mapping[str, Rule]] = {
            "tools": policy.tools,
            "prompts": policy.prompts,
            "resources": policy.resources,
            "resourceTemplates": policy.resources,
        }
        self._scopes = caller.token.scopes
        self._start: Message | None = None
        self._stream = False
        self._gathered = b""

    async def send(self, message: Message) -> None:
        """Raises `UnreadableListError`."""
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body" and self._stream:
            await self._pass_events(message)
        elif message["type"] == "http.response.body":
            await self._pass_whole(message)
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        headers = {name.lower(): value for name, value in message.get("headers", ())}
        if b"content-encoding" in headers:
            raise UnreadableListError("the list is compressed")
        self._stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        if self._stream:
            await self._send(message)
        else:
            self._start = message  # its content-length isn't known yet

    async def _pass_whole(self, message: Message) -> None:
        self._gather(message.get("body", b""))
        if message.get("more_body", False) or self._start is None:
            return
        body = self._cut(self._gathered) if self._gathered else b""
        kept = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        await self._send({**self._start, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
        await self._send({**message, "body": body})

    async def _pass_events(self, message: Message) -> None:
        self._gather(message.get("body", b""))
        passed = b""
        while found := _EVENT_END.search(self._gathered):
            event, self._gathered = self._gathered[: found.end()], self._gathered[found.end() :]
            passed += self._cut_event(event, found.group())
        # What is left at the end of the stream is no event: by its specification it is thrown away.
        await self._send({**message, "body": passed})

    def _gather(self, more: bytes) -> None:
        self._gathered += more
        if len(self._gathered) > MAX_LIST:
            raise UnreadableListError("the list is too long")

    def _cut_event(self, event: bytes, end: bytes) -> bytes:
        # A reader drops the mark before the first line, and finds data where otherwise there would be none.
        lines = [line for line in _LINE_END.split(event.removeprefix(BOM_UTF8)) if line]
        data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
        if not b"".join(data).strip():
            return event
        others = [line for line in lines if not line.startswith(b"data:")]
        return b"\n".join([*others, b"data: " + self._cut(b"\n".join(data))]) + (b"\n\n" if end else b"")

    def _cut(self, text: bytes) -> bytes:
        """A JSON-RPC message, or a batch of them (MCP 2025-03-26), with only those entries that the caller may use."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableListError("the list is not JSON") from error
        messages = document if isinstance(document, list) else [document]
        held_lists = [self._cut_message(message) for message in messages]
        if not any(held_lists):
            return text
        rendered = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        return rendered.encode(errors="backslashreplace")  # half a surrogate pair stays the escape that it came as

    def _cut_message(self, message: Any) -> bool:
        """Cuts `message` itself; False when there is no list in it."""
        result = message.get("result") if isinstance(message, dict) else None
        if not isinstance(result, dict) or not _NAMES.keys() & result.keys():
            return False
        for member, name in _NAMES.items():
            if isinstance(entries := result.get(member), list):
                result[member] = [entry for entry in entries if self._allowed(member, name, entry)]
        if "cacheScope" in result:
            result["cacheScope"] = "private"  # it is this caller's list now, and nobody else's
        return True

    def _allowed(self, member: str, name: str, entry: Any) -> bool:
        named = entry.get(name) if isinstance(entry, dict) else None
        rule = self._rules[member].get(named) if isinstance(named, str) else None
        return rule is not None and scope.covers(self._scopes, rule.scopes)
