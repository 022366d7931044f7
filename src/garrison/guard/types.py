"""What the guard's stages hand to each other by way of guard.py: a request, its caller, its message, an answer."""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import methodcaller
from typing import Any

import msgspec

from garrison.base.events import new_correlation_id
from garrison.base.peers import Peers
from garrison.limits.limiter import Admission
from garrison.limits.slots import Slots
from garrison.oauth.access_token import AccessToken

Scope = MutableMapping[str, Any]

SESSION_ID = "mcp-session-id"
LAST_EVENT_ID = "last-event-id"
CORRELATION_ID = "x-correlation-id"
"""Header names that more than one stage writes or reads."""


class _Names(dict[bytes, str]):
    """Header names as servers usually give them, decoded once; any other is decoded each time."""

    def __missing__(self, name: bytes) -> str:
        return name.decode("latin-1").lower()


_latin1 = methodcaller("decode", "latin-1")
_NAMES = _Names(
    (name.encode(), name)
    for name in (
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "origin",
        "traceparent",
        "user-agent",
        "x-forwarded-for",
        "x-forwarded-proto",
        CORRELATION_ID,
        SESSION_ID,
    )
)


_TELL_THE_PEER = ("x-forwarded-for", "forwarded")
_NOTHING: frozenset[str] = frozenset()


class Request(msgspec.Struct, frozen=True):
    """An HTTP request before its body.

    Attributes:
        headers: by their names in lower case; the values of one that came more than once are joined (RFC 9110 §5.3).
        repeated: the names of those that came more than once.
    """

    method: str
    path: str
    query: bytes
    headers: Mapping[str, str]
    repeated: frozenset[str]
    address: str
    http_version: str
    correlation_id: str

    @classmethod
    def of(cls, scope: Scope, peers: Peers) -> "Request":
        raw = scope["headers"]
        names, values = zip(*raw, strict=True) if raw else ((), ())
        headers = dict(zip(map(_NAMES.__getitem__, names), map(_latin1, values), strict=True))
        repeated = _NOTHING
        if len(headers) != len(raw):
            headers, repeated = _joined(raw)
        client = scope.get("client")
        peer = client[0] if client else ""
        return cls(
            method=scope.get("method", "GET"),
            path=scope["path"],
            query=scope.get("query_string", b""),
            headers=headers,
            repeated=repeated,
            address=peers.address(peer, *(_of(headers, name) for name in _TELL_THE_PEER) if peers.trusted else ()),
            http_version=scope.get("http_version", "1.1"),
            # A stranger's id is not taken over: it could be made to join or to forge another request's trail.
            correlation_id=new_correlation_id(),
        )


def _of(headers: Mapping[str, str], name: str) -> Sequence[str]:
    return [headers[name]] if name in headers else ()


def _joined(raw: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], frozenset[str]]:
    headers: dict[str, str] = {}
    repeated = set()
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            repeated.add(name)
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers, frozenset(repeated)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified token speaks for.

    Attributes:
        token: the verified claims, not the token itself.
        principal: one fixed-length name for issuer, subject and client together.
        fingerprint: a keyed hash of the token: as distinct as the token, and worthless elsewhere.
        revocable: whether the issuer is asked again and again whether it has revoked the token.
    """

    token: AccessToken
    principal: str
    fingerprint: str = field(repr=False)
    revocable: bool = False


class Shape(StrEnum):
    """JSON-RPC 2.0's three messages (a batch is none that MCP still has)."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


class Message(msgspec.Struct, frozen=True):
    """One JSON-RPC message: `body` is what goes on, and what came, byte for byte, unless it is `rewritten`.

    Attributes:
        modern: whether it speaks a revision without handshake (2026-07-28 and later).
    """

    shape: Shape
    method: str
    id: str | int | None
    params: Mapping[str, Any]
    body: bytes
    modern: bool
    rewritten: bool = False

    def __repr__(self) -> str:
        return f"Message({self.shape.value}, {self.target!r})"  # its body is no log's business

    @property
    def target(self) -> str:
        """What it is about, for events: the method, and the name that it bears."""
        name = self.params.get("name", self.params.get("uri", ""))
        return f"{self.method or self.shape} {name if isinstance(name, str) else ''}".rstrip()


class Call(msgspec.Struct):
    """One request on its way through the stages; a local of the coroutine that serves it.

    Attributes:
        read: bytes of its body.
    """

    request: Request
    caller: Caller | None = None
    session_id: str | None = None
    last_event_id: str | None = None
    read: int = 0
    message: Message | None = None
    admission: Admission | None = None
    slots: Slots | None = None

    @property
    def target(self) -> str:
        return self.message.target if self.message else f"{self.request.method} {self.request.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response of the guard's own."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
