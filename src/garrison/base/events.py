"""The vocabulary of security events, and `emit`, the one way to write one.

An event says who did what, how it was decided and why. It is written before the act it speaks of: when `emit` returns
the event is durable, and when it raises `EventStoreError` the act must be refused.
"""

import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec
from msgspec import structs

from garrison.base.clock import Clock, system_clock
from garrison.base.ids import random_id

Scalar = str | int | float | bool | None
MAX_TEXT = 512
"""Characters kept of any text in an event; the rest is cut, and the cut is marked."""


class Kind(StrEnum):
    """What happened. The names are stable: alerts and dashboards are written against them."""

    # guard
    CALL_ALLOWED = "call.allowed"
    CALL_DENIED = "call.denied"
    CALL_FINISHED = "call.finished"
    AUTHENTICATION_FAILED = "authentication.failed"
    RATE_LIMITED = "rate.limited"
    INPUT_REJECTED = "input.rejected"
    REQUEST_REJECTED = "request.rejected"
    LIMIT_STORE_DOWN = "limits.store_down"
    # authorization server
    TOKEN_ISSUED = "token.issued"  # noqa: S105
    TOKEN_REFUSED = "token.refused"  # noqa: S105
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    TOKEN_REUSED = "token.reused"  # noqa: S105
    CLIENT_REFUSED = "client.refused"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    CONSENT_GIVEN = "consent.given"
    CONSENT_REFUSED = "consent.refused"
    CLIENT_ADDED = "client.added"
    CLIENT_CHANGED = "client.changed"
    CLIENT_REMOVED = "client.removed"
    USER_ADDED = "user.added"
    USER_CHANGED = "user.changed"
    USER_REMOVED = "user.removed"
    KEYS_ROTATED = "keys.rotated"
    # the process
    SERVER_STARTED = "server.started"
    SERVER_STOPPED = "server.stopped"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


SEVERITIES: Mapping[Kind, Severity] = {
    Kind.CALL_DENIED: Severity.WARNING,
    Kind.AUTHENTICATION_FAILED: Severity.WARNING,
    Kind.RATE_LIMITED: Severity.WARNING,
    Kind.INPUT_REJECTED: Severity.WARNING,
    Kind.REQUEST_REJECTED: Severity.WARNING,
    Kind.TOKEN_REFUSED: Severity.WARNING,
    Kind.TOKEN_REUSED: Severity.ERROR,
    Kind.CLIENT_REFUSED: Severity.WARNING,
    Kind.CLIENT_CHANGED: Severity.WARNING,
    Kind.LOGIN_FAILED: Severity.WARNING,
    Kind.LIMIT_STORE_DOWN: Severity.ERROR,
}
"""Kinds that are not here are `info`."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Attributes:
        kind: what happened.
        correlation_id: shared by all events of one request.
        subject, client_id: who (RFC 9068 `sub`, `client_id`); empty for strangers.
        address: the peer's IP address; empty where there is none.
        target: what it was done to: `tools/call get_customer_info`, `POST /token`, …
        reason: why it was decided so, in words of ours, never of the caller's secret.
        detail: further scalars.
        time: seconds since the epoch; 0 means "when written".
        id: unique, sortable only by `time`.
    """

    kind: Kind
    correlation_id: str
    subject: str = ""
    client_id: str = ""
    address: str = ""
    target: str = ""
    reason: str = ""
    detail: Mapping[str, Scalar] = msgspec.field(default_factory=dict)
    time: float = 0.0
    id: str = msgspec.field(default_factory=random_id)

    @property
    def severity(self) -> Severity:
        return SEVERITIES.get(self.kind, Severity.INFO)


class EventSink(Protocol):
    """Where events go; monitor/ has the real one."""

    async def write(self, event: Event) -> None:
        """Store `event` durably. Raises `EventStoreError` when that can't be done."""

    def write_soon(self, event: Event) -> None:
        """Take `event` to store it a moment later, without waiting. Raises `EventStoreError` when it can't be taken."""


_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def one_line(text: str) -> str:
    """`text` without control, format and line-breaking characters, so that one event stays one line (log forging)."""
    kept = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"
    if kept.isascii() and kept.isprintable():
        return kept
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNPRINTABLE else c for c in kept)


def new_correlation_id() -> str:
    return random_id()


async def emit(sink: EventSink, event: Event, clock: Clock = system_clock) -> Event:
    """Write `event`, cleaned of everything that could forge another, and give what was written.

    Raises:
        EventStoreError: it is not durable; refuse what it was about.
    """
    if not _is_clean(event):
        event = _cleaned(event)
    written = event if event.time else structs.replace(event, time=clock())
    await sink.write(written)
    return written


def emit_end(
    sink: EventSink, begun: Event, kind: Kind, reason: str, detail: Mapping[str, int | float], time: float
) -> None:
    """Write how it ended with what `begun` speaks of, which `emit` gave: all of it is clean already, but for `reason`.

    Nothing is left to refuse, so nobody waits until it is durable.

    Raises:
        EventStoreError: it won't be stored.
    """
    told = one_line(reason) if reason else ""
    sink.write_soon(structs.replace(begun, kind=kind, reason=told, detail=detail, time=time, id=random_id()))


_SCALARS = frozenset({str, int, float, bool, type(None)})


def _is_clean(event: Event) -> bool:
    """Whether nothing in `event` needs cleaning, as is usual; one look at all of its texts is enough to say so."""
    texts = (event.correlation_id, event.subject, event.client_id, event.address, event.target, event.reason)
    text = "".join(texts)
    if event.detail:
        values = event.detail.values()
        if not _SCALARS.issuperset(map(type, values)):
            return False
        text = "".join([text, *event.detail, *[value for value in values if type(value) is str]])
    return len(text) <= MAX_TEXT and text.isascii() and text.isprintable()


def _cleaned(event: Event) -> Event:
    return Event(
        kind=event.kind,
        correlation_id=one_line(event.correlation_id),
        subject=one_line(event.subject),
        client_id=one_line(event.client_id),
        address=one_line(event.address),
        target=one_line(event.target),
        reason=one_line(event.reason),
        detail={one_line(k): one_line(v) if isinstance(v, str) else v for k, v in event.detail.items()},
        time=event.time,
        id=event.id,
    )


class NullSink:
    """Keeps nothing; for tests and for tools that guard nobody."""

    async def write(self, event: Event) -> None:
        """Forget `event`."""

    def write_soon(self, event: Event) -> None:
        """Forget `event`."""
