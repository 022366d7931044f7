"""Durable security events in SQLite: an `EventSink` for any number of tasks, threads and processes.

`write` returns when its event is durable. With durability "process", the default, it survives the end of the process,
however sudden, but a power cut may take the last moments: it is in a file of the process's own (journal.py), and in the
database as soon as somebody reads, or within a moment. With "power" it survives that too, as far as the disk keeps its
word on fsync, and costs the wait for it. Reading runs in threads and disturbs no writer. Processes may share the file.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any, Self

from msgspec.structs import replace

from garrison.base.clock import Clock, system_clock
from garrison.base.errors import EventStoreError
from garrison.base.events import Event, Kind, Severity
from garrison.monitor.database import Durability, open_for_reading
from garrison.monitor.group_commit import GroupCommitWriter
from garrison.monitor.journaled import JournaledWriter
from garrison.monitor.rows import COLUMNS, from_row

_PAGE = 500
_WRITERS: Mapping[Durability, type[JournaledWriter | GroupCommitWriter]] = {
    "process": JournaledWriter,
    "power": GroupCommitWriter,
}


class EventStore:
    """The events in the file `path`, whose folder exists. Between `open` and `aclose` it writes and reads.

    Each stored event has a cursor: a whole number that grows in the order of the commits, across processes.

    Args:
        path: the SQLite file.
        durability: what an event survives once `write` has returned.
        busy_timeout: seconds to wait for another process's transaction.
        clock: the time of events that have none.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "process",
        busy_timeout: float = 5.0,
        clock: Clock = system_clock,
    ) -> None:
        self._path = path.absolute()  # the app may go to another folder
        self._durability = durability
        self._busy_timeout = busy_timeout
        self._clock = clock
        self._writer: JournaledWriter | GroupCommitWriter | None = None

    async def open(self) -> None:
        """Make or open the file.

        Raises:
            EventStoreError: that isn't possible.
        """
        try:
            self._writer = await asyncio.to_thread(_WRITERS[self._durability], self._path, self._busy_timeout)
        except (OSError, sqlite3.Error) as error:
            raise EventStoreError(
                f"The event store {self._path} can't be opened: {error}.", "Check the folder and its permissions."
            ) from error

    async def aclose(self) -> None:
        """Store what is queued, then close."""
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)
            self._writer = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def healthy(self) -> bool:
        """It is open, and the last commit worked."""
        return self._writer is not None and self._writer.healthy

    async def write(self, event: Event) -> None:
        """Store `event`; durable on return. When cancelled, it may be stored all the same.

        Raises:
            EventStoreError: it isn't durable.
        """
        if self._writer is None:
            raise EventStoreError("The event store is not open.")
        waiting = self._writer.submit(event if event.time else replace(event, time=self._clock()))
        if waiting is not None:
            await waiting

    def write_soon(self, event: Event) -> None:
        """Store `event` within a moment, or with the next one: for what tells how an act ended.

        Raises:
            EventStoreError: it won't be.
        """
        if self._writer is None:
            raise EventStoreError("The event store is not open.")
        self._writer.submit_soon(event if event.time else replace(event, time=self._clock()))

    async def recent(
        self, limit: int = 50, *, kinds: Collection[Kind] | None = None, cursor: int | None = None
    ) -> list[Event]:
        """Up to `limit` events, newest last: the last ones, or the first ones after `cursor`."""
        if cursor is not None:
            return [event for _, event in await self._after(cursor, limit, kinds)]
        rows = await self._select(
            f"SELECT {COLUMNS} FROM events WHERE {_of(kinds)} ORDER BY cursor DESC LIMIT ?",  # noqa: S608  no input
            (*(kinds or ()), limit),
        )
        return [from_row(row) for row in reversed(rows)]

    async def counts(self) -> dict[Severity, int]:
        """How many events there are of each severity."""
        rows = await self._select(
            "SELECT severity, count(*) FROM events WHERE severity <> 'info' GROUP BY severity"
            " UNION ALL SELECT 'all', count(*) FROM events"
        )
        found = dict(rows)
        total = found.pop("all")
        counted = {severity: found.get(severity.value, 0) for severity in Severity}
        return counted | {Severity.INFO: total - sum(counted.values())}

    async def cursor(self) -> int:
        """The last event's cursor; 0 when there is none."""
        return int((await self._select("SELECT coalesce(max(cursor), 0) FROM events"))[0][0])

    async def tail(
        self, cursor: int | None = None, *, kinds: Collection[Kind] | None = None, interval: float = 0.25
    ) -> AsyncIterator[Event]:
        """Each event after `cursor` (by default, from now on), of whichever process, looked for every `interval` s."""
        last = await self.cursor() if cursor is None else cursor
        while True:
            found = await self._after(last, _PAGE, kinds)
            for number, event in found:
                last = number
                yield event
            if not found:
                await asyncio.sleep(interval)

    async def _after(self, cursor: int, limit: int, kinds: Collection[Kind] | None) -> list[tuple[int, Event]]:
        rows = await self._select(
            f"SELECT cursor, {COLUMNS} FROM events WHERE cursor > ? AND {_of(kinds)} ORDER BY cursor LIMIT ?",  # noqa: S608  no input
            (cursor, *(kinds or ()), limit),
        )
        return [(row[0], from_row(row[1:])) for row in rows]

    async def _select(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return await asyncio.to_thread(self._select_now, statement, values)
        except sqlite3.Error as error:
            raise EventStoreError(f"The event store {self._path} can't be read: {error}.") from error

    def _select_now(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if self._writer is not None:
            self._writer.flush()
        connection = open_for_reading(self._path, self._busy_timeout)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()


def _of(kinds: Collection[Kind] | None) -> str:
    """The condition for `kinds`, with a placeholder for each; None means all, and an empty collection none."""
    return "TRUE" if kinds is None else f"kind IN ({', '.join('?' * len(kinds))})"
