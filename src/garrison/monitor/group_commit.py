"""Writes events that must survive a power cut, each answered only when it is durable or isn't going to be.

One thread writes with group commit: a commit waits for the disk, and whatever is queued meanwhile goes into the next
transaction together, so the wait is shared by all who write at the time.

What only tells how a thing ended may be stored a moment later (`submit_soon`): it goes into the next event's
transaction, which costs a third of one of its own.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from garrison.base.errors import EventStoreError
from garrison.base.events import Event
from garrison.monitor.collect import Collector
from garrison.monitor.database import failed, gone, identify, open_for_writing
from garrison.monitor.rows import INSERT, Row, to_row

SOON = 0.05
"""Seconds that an event of `submit_soon` is kept in memory at most."""
_MAX_BATCH = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Rows, and who asks what became of them; nobody does of those that were to be stored soon."""

    rows: Sequence[Row]
    answer: asyncio.Future[None] | None


class GroupCommitWriter:
    """Appends events to the file at `path`; opens it when made, in whatever thread that is.

    Attributes:
        healthy: the last commit worked.
    """

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self._path = path
        self._connection, self._identity = open_for_writing(path, busy_timeout, fsync=True)
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._held: list[Row] = []
        self._alarmed: asyncio.AbstractEventLoop | None = None  # one alarm serves all that comes until it rings
        self._gate = threading.Lock()  # nothing enters the queue after the None that ends it
        self._closed = False
        self.healthy = True
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
        self._thread.start()

    def submit(self, event: Event) -> asyncio.Future[None]:
        """A future of the running loop that is done when `event` is durable.

        Raises:
            EventStoreError: the writer is closed. The future raises it when the commit failed.
        """
        row = to_row(event)
        with self._gate:
            self._check_open()
            answer = asyncio.get_running_loop().create_future()
            self._queue.put(_Waiting((*self._held, row), answer))
            self._held.clear()
        return answer

    def submit_soon(self, event: Event) -> None:
        """Have `event` stored together with the next one, or after `SOON` seconds; what then fails goes to the log.

        Raises:
            EventStoreError: the writer is closed.
        """
        row = to_row(event)
        with self._gate:
            self._check_open()
            self._held.append(row)
            loop = asyncio.get_running_loop()
            if self._alarmed is not loop:
                self._alarmed = loop
                loop.call_later(SOON, self._flush_held)

    def _flush_held(self) -> None:
        self._alarmed = None
        self.flush()

    def flush(self) -> None:
        """Have what `submit_soon` holds stored next."""
        with self._gate:
            if self._held and not self._closed:
                self._queue.put(_Waiting(tuple(self._held), None))
                self._held.clear()

    def close(self) -> None:
        """Write what is queued, then end. Blocks."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(_Waiting(tuple(self._held), None))
                self._queue.put(None)
        self._thread.join()

    def _check_open(self) -> None:
        if self._closed:
            raise EventStoreError("The event store is closed.")

    def _take_in(self) -> None:
        """What processes left in journals that were killed while events had to survive the process alone."""
        try:
            Collector(self._path, self._connection, self._identity).collect_all()
        except (OSError, sqlite3.Error, EventStoreError) as error:
            _log.error("events in journals wait for the next start: %s", error)

    def _run(self) -> None:
        self._take_in()
        going_on = True
        while going_on:
            batch = [self._queue.get()]
            while len(batch) < _MAX_BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            going_on = None not in batch
            waiting = [one for one in batch if one is not None]
            if waiting:
                failure = self._commit([row for one in waiting for row in one.rows])
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
            return failed(error)
        if identify(self._path) != self._identity:  # SQLite writes on into a file that was deleted
            return gone(self._path)
        return None

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # SQLite may have rolled back by itself, as it does when the disk is full
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _answer(waiting: Sequence[_Waiting], failure: EventStoreError | None) -> None:
    """Answer all that wait, with one wake-up per event loop."""
    unheard = sum(len(one.rows) - (one.answer is not None) for one in waiting)
    if failure is not None and unheard:
        _log.error("%d events lost: %s", unheard, failure.message)
    asking = [one.answer for one in waiting if one.answer is not None]
    for loop in {answer.get_loop() for answer in asking}:
        answers = [answer for answer in asking if answer.get_loop() is loop]
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
