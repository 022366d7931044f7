"""Writes events, each answered only when it is durable or isn't going to be.

Where durable means "survives a power cut", one thread writes with group commit: a commit waits for the disk, and
whatever is queued meanwhile goes into the next transaction together, so the wait is shared by all who write at the
time. Where it means "survives the process", events are written at once (direct.py), and the thread takes what would
have to wait.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from garrison.base.errors import EventStoreError
from garrison.monitor.database import Durability, failed, gone, identify, open_for_writing
from garrison.monitor.direct import Direct
from garrison.monitor.rows import INSERT, Row

_MAX_BATCH = 1000


@dataclass(frozen=True, slots=True)
class _Waiting:
    row: Row
    answer: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """Asks the thread to copy the write-ahead log into the file."""


class Writer:
    """Appends rows to the file at `path`; opens it when made, in whatever thread that is.

    Attributes:
        healthy: the last commit worked.
    """

    def __init__(self, path: Path, busy_timeout: float, durability: Durability = "power") -> None:
        self._path = path
        self._connection, self._identity = open_for_writing(path, busy_timeout, fsync=durability == "power")
        self._direct = Direct(path, self._identity) if durability == "process" else None
        self._queue: queue.SimpleQueue[_Waiting | _Checkpoint | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # nothing enters the queue after the None that ends it
        self._closed = False
        self.healthy = True
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
        self._thread.start()

    def submit(self, row: Row) -> asyncio.Future[None] | None:
        """None when `row` is durable already, else a future of the running loop that is done when it is.

        Raises:
            EventStoreError: the writer is closed. The future raises it when the commit failed.
        """
        with self._gate:
            if self._closed:
                raise EventStoreError("The event store is closed.")
            if self._written_at_once(row):
                return None
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[None] = loop.create_future()
            self._queue.put(_Waiting(row, answer, loop))
        return answer

    def _written_at_once(self, row: Row) -> bool:
        if self._direct is None:
            return False
        if self._direct.checkpoint_is_due():
            self._queue.put(_Checkpoint())
        try:
            written = self._direct.write(row)
        except EventStoreError:
            self.healthy = False
            raise
        self.healthy = self.healthy or written
        return written

    def close(self) -> None:
        """Write what is queued, then end. Blocks."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()
        if self._direct is not None:
            self._direct.close()

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch = [self._queue.get()]
            while len(batch) < _MAX_BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            going_on = None not in batch
            waiting = [one for one in batch if isinstance(one, _Waiting)]
            if waiting:
                failure = self._commit([one.row for one in waiting])
                self.healthy = failure is None
                _answer(waiting, failure)
            if any(isinstance(one, _Checkpoint) for one in batch):
                self._checkpoint()
        self._connection.close()

    def _commit(self, rows: Sequence[Row]) -> EventStoreError | None:
        """None when all of `rows` are durable, else why none of them counts."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(INSERT, rows)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait must hear of it
            self._roll_back()
            return failed(error)
        if identify(self._path) != self._identity:  # SQLite writes on into a file that was deleted
            return gone(self._path)
        return None

    def _checkpoint(self) -> None:
        # RESTART keeps writers out for its moments, who then come this way; else under steady load it would never end.
        with suppress(sqlite3.Error):  # next time, then: the log only grows meanwhile
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # SQLite may have rolled back by itself, as it does when the disk is full
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _answer(waiting: Sequence[_Waiting], failure: EventStoreError | None) -> None:
    """Answer all that wait, with one wake-up per event loop."""
    for loop in {one.loop for one in waiting}:
        answers = [one.answer for one in waiting if one.loop is loop]
        with suppress(RuntimeError):  # the loop has ended, and who waited on it with it
            loop.call_soon_threadsafe(_settle, answers, failure)


def _settle(answers: Sequence[asyncio.Future[None]], failure: EventStoreError | None) -> None:
    for answer in answers:
        if answer.done():  # cancelled: the event stays, nobody asks for it
            continue
        if failure is None:
            answer.set_result(None)
        else:
            answer.set_exception(EventStoreError(failure.message, failure.hint))
