"""An event as a row of the table `events`, and back."""

import json
import math
from collections.abc import Sequence
from typing import Any

from garrison.base.errors import EventStoreError
from garrison.base.events import Event, Kind

Row = tuple[str, float, str, str, str, str, str, str, str, str, str]

_ENCODE = json.JSONEncoder(allow_nan=False).encode

VERSION = 1
"""SQLite's `user_version` of a file with this table."""

SCHEMA = (
    """CREATE TABLE events (
        cursor INTEGER PRIMARY KEY, id TEXT NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL,
        severity TEXT NOT NULL, correlation_id TEXT NOT NULL, subject TEXT NOT NULL, client_id TEXT NOT NULL,
        address TEXT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL
    )""",
    # Most events are `info`: an index that leaves them out costs them nothing.
    "CREATE INDEX events_severity ON events (severity) WHERE severity <> 'info'",
)
COLUMNS = "id, time, kind, severity, correlation_id, subject, client_id, address, target, reason, detail"
INSERT = f"INSERT INTO events ({COLUMNS}) VALUES ({', '.join('?' * 11)})"  # noqa: S608  constants only


def to_row(event: Event, now: float) -> Row:
    """A row that SQLite is sure to take, so that one event can't spoil the transaction of others.

    Raises:
        EventStoreError: a time or detail that is not finite, or text that is not Unicode.
    """
    time = event.time or now
    who = (event.correlation_id, event.subject, event.client_id, event.address)
    try:
        "".join((event.id, *who, event.target, event.reason)).encode("utf-8")
        detail = _ENCODE(dict(event.detail)) if event.detail else "{}"
        finite = math.isfinite(time)
    except (ValueError, TypeError, OverflowError) as error:
        raise _unstorable() from error
    if not finite:
        raise _unstorable()
    return (event.id, time, event.kind.value, event.severity.value, *who, event.target, event.reason, detail)


def _unstorable() -> EventStoreError:
    return EventStoreError("An event can't be stored: it holds what is no text or no finite number.")


def from_row(row: Sequence[Any]) -> Event:
    """The event of a row selected as `COLUMNS`.

    Raises:
        EventStoreError: its kind is unknown here.
    """
    identity, time, kind, _severity, correlation_id, subject, client_id, address, target, reason, detail = row
    try:
        known = Kind(kind)
    except ValueError as error:
        raise EventStoreError("The event store holds an event of an unknown kind.", "Update Garrison.") from error
    return Event(
        kind=known,
        correlation_id=correlation_id,
        subject=subject,
        client_id=client_id,
        address=address,
        target=target,
        reason=reason,
        detail=json.loads(detail),
        time=time,
        id=identity,
    )
