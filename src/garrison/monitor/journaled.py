"""Writes events that must survive the process, at once and on the caller's own thread: nobody waits for anything.

They go into this process's journal (journal.py), from which a thread moves them into the database, many together. So a
database that is locked or full holds nobody up, until what waits for it has grown to `MAX_BACKLOG`.

What only tells how a thing ended may be stored a moment later (`submit_soon`): it goes with the next event.
"""

import asyncio
import logging
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from garrison.base.errors import EventStoreError
from garrison.base.events import Event
from garrison.monitor.collect import Collector
from garrison.monitor.database import StoreGoneError, failed, open_for_writing
from garrison.monitor.journal import Journal, to_line

SOON = 0.25
"""Seconds until events are moved, and for which one of `submit_soon` is kept in memory at most."""
PATIENCE = 1.0
"""Seconds that a reader waits for others who move events."""
RETRY = 0.25
"""Seconds until a database that took nothing is tried again."""
MAX_HELD = 1000
LONG_LINE = 1 << 13
"""Bytes of an event that is not kept in memory: so many of them would be more than the backlog's bound."""
MAX_BACKLOG = 1 << 24
"""Bytes of events that the database has not taken."""
LONG = 1 << 20
"""Bytes after which a journal gives way to a new one."""

_log = logging.getLogger(__name__)


class JournaledWriter:
    """Appends events to the store at `path`; opens it when made, in whatever thread that is.

    Attributes:
        healthy: the last event was stored, and the database took what it was last given.
    """

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self._path = path
        self._connection, identity = open_for_writing(path, busy_timeout, fsync=False)
        self._collector = Collector(path, self._connection, identity)
        self._journal = Journal(path)
        self._left: list[Journal] = []  # given up for a new one, and not moved wholly yet
        self._room = MAX_BACKLOG
        self._held: list[bytes] = []
        self._gate = threading.Lock()  # event loops of several threads may share one store
        self._turning = threading.Lock()
        self._closed = self._ended = False
        self._gone: EventStoreError | None = None
        self._stores = self._moves = True
        self._wanted = False
        self._want = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-collector", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        return self._stores and self._moves

    def submit(self, event: Event) -> asyncio.Future[None] | None:
        """None: `event` is durable.

        Raises:
            EventStoreError: it isn't.
        """
        line = to_line(event)
        with self._gate:
            self._check_open()
            if self._gone is not None:
                raise self._gone
            self._append([*self._held, line])
        return None

    def submit_soon(self, event: Event) -> None:
        """Have `event` stored together with the next one, or after `SOON` seconds.

        Raises:
            EventStoreError: the writer is closed, or has been able to store nothing for long.
        """
        line = to_line(event)
        with self._gate:
            self._check_open()
            if len(self._held) >= MAX_HELD:
                raise EventStoreError(f"{MAX_HELD} events wait for a store that takes none.")
            self._held.append(line)
            if len(line) > LONG_LINE:
                self._append(self._held)
            if not self._wanted:
                self._ask()

    def flush(self) -> None:
        """Have the database hold what any process has stored here, as far as it takes it soon. Blocks."""
        if self._turning.acquire(timeout=PATIENCE):  # one who waits for a locked database is enough
            try:
                self._turn(everybodys=True)
            finally:
                self._turning.release()

    def close(self) -> None:
        """Store what is held, then end. Blocks."""
        with self._gate:
            self._closed = True
        self._closing.set()
        self._want.set()
        self._thread.join()

    def _check_open(self) -> None:
        if self._closed:
            raise EventStoreError("The event store is closed.")

    def _append(self, events: list[bytes]) -> None:
        lines = b"".join(events)
        self._stores = False
        if len(lines) > self._room:
            raise EventStoreError("Events can't be stored: too many wait for the database.", "Look at its disk.")
        if self._journal.broken:
            self._renew()
        stored = self._journal.append(lines)
        self._room -= stored
        if self._held:
            del self._held[: lines.count(b"\n", 0, stored)]
        if stored != len(lines):
            raise EventStoreError("Events can't be stored: the disk took a part of them.", "Look for room on the disk.")
        self._stores = True
        if not self._wanted:
            self._ask()

    def _renew(self) -> None:
        try:
            fresh = Journal(self._path)
        except OSError as error:
            raise failed(error) from error
        self._left.append(self._journal)
        self._journal = fresh

    def _ask(self) -> None:
        self._wanted = True
        self._want.set()

    def _run(self) -> None:
        with self._turning:
            self._turn(everybodys=True)  # what processes left that were killed
        closing = False
        while not closing:
            self._want.wait()
            closing = self._closing.wait(SOON if self._moves else RETRY)
            with self._turning:
                self._turn()
        with self._turning:
            self._end()

    def _turn(self, *, everybodys: bool = False) -> None:
        """Move what there is; nothing is lost if that fails, and it is tried again. One at a time."""
        if self._ended:
            return
        try:
            self._store_held()
            if everybodys:
                self._collector.collect_all([journal.path for journal in self._own()])
            self._collect()
        except Exception as error:  # noqa: BLE001  whatever it is, the thread must go on
            self._note(error)
        else:
            self._note(None)

    def _note(self, error: Exception | None) -> None:
        if error is not None and self._moves:
            _log.error("events wait to be stored: %s", error)
        with self._gate:
            self._moves = error is None
            self._gone = error if isinstance(error, StoreGoneError) else None
            if error is not None:
                self._ask()

    def _store_held(self) -> None:
        with self._gate:
            self._wanted = False
            if not self._closed:
                self._want.clear()
            if not self._held:
                return
            try:
                self._append(self._held)
            except EventStoreError as error:
                _log.error("%d events wait to be stored: %s", len(self._held), error)
                self._ask()

    def _own(self) -> tuple[Journal, ...]:
        return (*self._left, self._journal)

    def _collect(self) -> None:
        self._give_up_replaced()
        for journal in self._own():
            journal.moved = self._collector.collect(journal.path, journal.descriptor)
        with self._gate:
            self._room = MAX_BACKLOG - sum(journal.waiting for journal in self._own())
            if self._journal.moved > LONG:
                self._renew()
                self._ask()
        for journal in [journal for journal in self._left if not journal.waiting]:
            self._collector.forget(journal.path)
            with self._gate:
                self._left.remove(journal)
            journal.close()

    def _give_up_replaced(self) -> None:
        """Nobody else finds a journal whose name is another file's, so nothing more may go there; what did is moved."""
        journal = self._journal
        if journal.was_replaced() and not journal.broken:
            _log.error("another file has taken the place of the journal %s; events go into a new one", journal.path)
            with self._gate:
                journal.broken = True

    def _end(self) -> None:
        """What could not be moved stays for the next who opens the store."""
        self._ended = True
        for journal in self._own():
            if not journal.waiting:
                with suppress(sqlite3.Error, OSError):
                    self._collector.forget(journal.path)
            journal.close()
        self._connection.close()
