"""An event as a row of the table `events`, and back."""

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from garrison.base.errors import EventStoreError
from garrison.base.events import SEVERITIES, Event, Kind, Severity

Row = tuple[str, float, str, str, str, str, str, str, str, str, str]

_SCALARS = frozenset({str, int, float, bool, type(None)})
_ENCODE = msgspec.json.Encoder().encode
_WORDS = {kind: (str(kind.value), str(SEVERITIES.get(kind, Severity.INFO).value)) for kind in Kind}
"""Each kind and its severity as plain texts, which SQLite takes without asking what they are."""

VERSION = 2
"""SQLite's `user_version` of a file with these tables; version 1 had no journals."""

SCHEMA = (
    """CREATE TABLE events (
        cursor INTEGER PRIMARY KEY, id TEXT NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL,
        severity TEXT NOT NULL, correlation_id TEXT NOT NULL, subject TEXT NOT NULL, client_id TEXT NOT NULL,
        address TEXT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL
    )""",
    # Most events are `info`: an index that leaves them out costs them nothing.
    "CREATE INDEX events_severity ON events (severity) WHERE severity <> 'info'",
)
JOURNALS = "CREATE TABLE journals (name TEXT PRIMARY KEY, moved INTEGER NOT NULL) WITHOUT ROWID"
"""How many bytes of each journal (journal.py) are in the other table."""
COLUMNS = "id, time, kind, severity, correlation_id, subject, client_id, address, target, reason, detail"
INSERT = f"INSERT INTO events ({COLUMNS}) VALUES ({', '.join('?' * 11)})"  # noqa: S608  constants only


def to_row(event: Event) -> Row:
    """A row that SQLite is sure to take, so that one event, whose time is set, can't spoil the transaction of others.

    Raises:
        EventStoreError: a time or detail that is not finite, or text that is not Unicode.
    """
    kind, severity = _WORDS[event.kind]
    who = (event.correlation_id, event.subject, event.client_id, event.address)
    about = (event.target, event.reason)
    try:
        check(event)
        texts = "".join((event.id, *who, *about))
        if not texts.isascii():
            texts.encode("utf-8")
        detail = _ENCODE(dict(event.detail)).decode() if event.detail else "{}"
    except (ValueError, TypeError, OverflowError) as error:
        raise unstorable() from error
    return (event.id, event.time, kind, severity, *who, *about, detail)


def check(event: Event) -> None:
    """Raises `ValueError` or `TypeError` for what a JSON encoder would take and nobody could read again.

    It writes null for a number that is not finite.
    """
    who = (event.correlation_id, event.subject, event.client_id, event.address)
    "".join((event.id, *who, event.target, event.reason))
    if not math.isfinite(event.time):
        raise ValueError("not finite")
    for value in event.detail.values():
        if type(value) not in _SCALARS or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError("not a scalar")


def unstorable() -> EventStoreError:
    return EventStoreError("An event can't be stored: it is too long, or holds what is no text or no finite number.")


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
