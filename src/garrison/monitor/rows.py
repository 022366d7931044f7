"""An event as a row of the table `events`, and back."""

import json
from collections.abc import Sequence
from typing import Any

from garrison.base.errors import EventStoreError
from garrison.base.events import Event, Kind

Row = tuple[str, float, str, str, str, str, str, str, str, str, str]

VERSION = 1
"""SQLite's `user_version` of a file with this table."""

SCHEMA = (
    """CREATE TABLE events (
        cursor INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL,
        severity TEXT NOT NULL, correlation_id TEXT NOT NULL, subject TEXT NOT NULL, client_id TEXT NOT NULL,
        address TEXT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL
    )""",
    "CREATE INDEX events_severity ON events (severity)",
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
    texts = (event.id, *who, event.target, event.reason)
    try:
        "".join(texts).encode("utf-8")
        detail = json.dumps(dict(event.detail), allow_nan=False)
        json.dumps(time, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise EventStoreError("An event can't be stored: it holds what is no text or no finite number.") from error
    return (event.id, time, event.kind.value, event.severity.value, *who, event.target, event.reason, detail)


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
