"""Writing an event at once, on the caller's own thread: durable against the end of the process, not of the power.

A commit that does not wait for the disk takes some ten microseconds, less than handing it to another thread. When
another process holds the file's lock, nothing waits here: the event goes the long way, through the writer's thread. So
does the copying of the write-ahead log into the file, which does wait for the disk.
"""

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from garrison.monitor.database import FileIdentity, failed, gone, identify
from garrison.monitor.rows import AT_ONCE, INSERT, Row, insertion

CHECKPOINT_EVENTS = 1000
"""Events after which the write-ahead log is due to be copied."""


class Direct:
    """A connection that waits for nobody. `path` has been opened for writing before."""

    def __init__(self, path: Path, identity: FileIdentity) -> None:
        self._path = str(path)  # a Path would be made a text at each event
        self._identity = identity
        self._lock = threading.Lock()  # event loops of several threads may share one store
        self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._since_checkpoint = 0

    def write(self, rows: Sequence[Row]) -> bool:
        """Whether `rows` are stored, all of them; False when the file is locked, and somebody who can wait must do it.

        Raises:
            EventStoreError: it can't be stored.
        """
        with self._lock:
            try:
                self._insert(rows)
            except sqlite3.Error as error:
                self._roll_back()
                if error.sqlite_errorcode in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    return False
                raise failed(error) from error
        if identify(self._path) != self._identity:  # SQLite writes on into a file that was deleted
            raise gone(Path(self._path))
        return True

    def _insert(self, rows: Sequence[Row]) -> None:
        if len(rows) <= AT_ONCE:
            self._connection.execute(*insertion(rows))
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(INSERT, rows)
        self._connection.execute("COMMIT")

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # SQLite may have rolled back by itself, as it does when the disk is full
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def checkpoint_is_due(self) -> bool:
        """True once in `CHECKPOINT_EVENTS` calls."""
        self._since_checkpoint += 1
        if self._since_checkpoint < CHECKPOINT_EVENTS:
            return False
        self._since_checkpoint = 0
        return True

    def close(self) -> None:
        with self._lock:
            self._connection.close()
