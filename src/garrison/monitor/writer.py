"""The one thread that writes events, with group commit.

A commit waits for the disk. Whatever is queued meanwhile goes into the next transaction together, so the wait is shared
by all who write at the time, and each is answered only when its event is durable or isn't going to be.
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
from garrison.monitor.database import identify, open_for_writing
from garrison.monitor.rows import INSERT, Row

_MAX_BATCH = 1000


@dataclass(frozen=True, slots=True)
class _Waiting:
    row: Row
    answer: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


class Writer:
    """Appends rows to the file at `path`; opens it when made, in whatever thread that is.

    Attributes:
        healthy: the last commit worked.
    """

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self._path = path
        self._connection, self._identity = open_for_writing(path, busy_timeout)
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # nothing enters the queue after the None that ends it
        self._closed = False
        self.healthy = True
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
        self._thread.start()

    def submit(self, row: Row) -> asyncio.Future[None]:
        """A future of the running loop that is done when `row` is durable.

        Raises:
            EventStoreError: the writer is closed. The future raises it when the commit failed.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        with self._gate:
            if self._closed:
                raise EventStoreError("The event store is closed.")
            self._queue.put(_Waiting(row, answer, loop))
        return answer

    def close(self) -> None:
        """Write what is queued, then end. Blocks."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch = [self._queue.get()]
            while len(batch) < _MAX_BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            going_on = None not in batch
            waiting = [one for one in batch if one is not None]
            if waiting:
                failure = self._commit([one.row for one in waiting])
                self.healthy = failure is None
                _answer(waiting, failure)
        self._connection.close()

    def _commit(self, rows: Sequence[Row]) -> EventStoreError | None:
        """None when all of `rows` are durable, else why none of them counts."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(INSERT, rows)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait must hear of it
            self._roll_back()
            return EventStoreError(f"Events can't be stored: {error}.", "Look at the disk and the event store's file.")
        if identify(self._path) != self._identity:  # SQLite writes on into a file that was deleted
            return EventStoreError("The event store's file is gone.", f"Restart to make {self._path} again.")
        return None

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
