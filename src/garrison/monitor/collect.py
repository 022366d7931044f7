"""Moves events from journals into the database, each exactly once, whoever does it and whenever it is killed.

How far a journal has been moved stands in the database, and is written in the transaction that moves. A journal whose
owner has ended is deleted once it is empty; its entry after it, so that nobody who has it open still can move it anew.
"""

import logging
import os
import sqlite3
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from garrison.base.errors import EventStoreError
from garrison.base.events import Event
from garrison.monitor.database import FileIdentity, gone, identify
from garrison.monitor.journal import MAX_LINE, hold, journals
from garrison.monitor.rows import INSERT, Row, to_row

_PORTION = 2 * MAX_LINE
"""Bytes moved in one transaction at most."""
_decode = msgspec.json.Decoder(Event).decode

_log = logging.getLogger(__name__)


class Collector:
    """Fills the store at `path` by `connection`, from one thread at a time. Whatever goes wrong, nothing is lost."""

    def __init__(self, path: Path, connection: sqlite3.Connection, identity: FileIdentity) -> None:
        self._path = path
        self._connection = connection
        self._identity = identity
        self._moved: dict[str, int] = {}
        """What is known to have been moved of each journal, so that nothing is locked to find nothing new."""

    def collect(self, journal: Path, descriptor: int) -> int:
        """Move what `journal` holds, and tell how many bytes of it have been moved by now.

        Raises:
            sqlite3.Error, OSError, EventStoreError: the database takes nothing, or is not the one it was.
        """
        return self._move(journal.name, descriptor, own=True)

    def collect_all(self, mine: Collection[Path] = ()) -> None:
        """Move what all journals hold, and delete those whose owners have ended. Raises as `collect` does.

        Args:
            mine: those that `collect` moves, so that no other file is taken for one of them.
        """
        found = [journal for journal in journals(self._path) if journal not in mine]
        self._moved = {journal.name: self._moved.get(journal.name, 0) for journal in (*found, *mine)}
        for journal in found:
            with _opened(journal) as descriptor:
                if descriptor is None:
                    continue
                ended = hold(descriptor)  # asked first: what ended writes no more
                moved = self._move(journal.name, descriptor)
                if ended and not _whole(descriptor, moved):
                    self.forget(journal)

    def forget(self, journal: Path) -> None:
        """Delete `journal`, all of which has been moved, and whose lock is held."""
        journal.unlink(missing_ok=True)
        self._connection.execute("DELETE FROM journals WHERE name = ?", (journal.name,))
        self._moved.pop(journal.name, None)

    def _move(self, name: str, descriptor: int, *, own: bool = False) -> int:
        while os.fstat(descriptor).st_size > self._moved.get(name, 0):
            before = self._moved.get(name, 0)
            self._moved[name] = self._move_portion(name, descriptor, own=own)
            if self._moved[name] == before:
                break  # the rest is a part of an event, or of another version
        return self._moved.get(name, 0)

    def _move_portion(self, name: str, descriptor: int, *, own: bool) -> int:
        self._check_identity()
        with self._transaction():
            found = self._connection.execute("SELECT moved FROM journals WHERE name = ?", (name,)).fetchone()
            moved = int(found[0]) if found else 0
            if not own and not os.fstat(descriptor).st_nlink:
                # Somebody was faster, and its entry may be gone already; or it was deleted, and its owner moves it.
                return self._moved.get(name, 0)
            lines, newline, _ = os.pread(descriptor, _PORTION, moved).rpartition(b"\n")
            if not newline:
                return moved
            rows, length = _rows(name, lines + newline)
            moved += length
            self._connection.executemany(INSERT, rows)
            self._connection.execute("INSERT OR REPLACE INTO journals VALUES (?, ?)", (name, moved))
        return moved

    def _check_identity(self) -> None:
        if identify(self._path) != self._identity:  # SQLite writes on into a file that was deleted
            raise gone(self._path)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself, as it does when the disk is full
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def _rows(name: str, lines: bytes) -> tuple[list[Row], int]:
    """The events of `lines` up to one that only another version of Garrison knows, and how many bytes they are."""
    rows, length = [], 0
    for line in lines.splitlines(keepends=True):
        try:
            rows.append(to_row(_decode(line)))
        except (msgspec.MsgspecError, UnicodeDecodeError, EventStoreError):
            if _is_object(line):
                _log.warning("the journal %s holds what this version of Garrison doesn't know", name)
                break
            # Durable means here that it survives the process: what a power cut left of a file can be anything.
            _log.exception("%d bytes in the journal %s are no event, and are lost with it", len(line), name)
        length += len(line)
    return rows, length


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


def _whole(descriptor: int, moved: int) -> bool:
    """Whether there are whole lines after `moved`."""
    return b"\n" in os.pread(descriptor, MAX_LINE, moved)


@contextmanager
def _opened(journal: Path) -> Iterator[int | None]:
    """None for what is no journal (any more)."""
    try:
        descriptor = os.open(journal, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield None
        return
    try:
        status = os.fstat(descriptor)
        yield descriptor if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() else None
    finally:
        os.close(descriptor)
