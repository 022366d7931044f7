"""The SQLite file of the event store: made private, opened durable."""

import os
import sqlite3
import stat
from pathlib import Path
from typing import Literal

from garrison.base.errors import EventStoreError
from garrison.base.files import PRIVATE_FILE
from garrison.monitor.rows import JOURNALS, SCHEMA, VERSION

FileIdentity = tuple[int, int]
Durability = Literal["process", "power"]
"""What a stored event survives: the end of the process however sudden, or a power cut too."""


def failed(error: Exception) -> EventStoreError:
    return EventStoreError(f"Events can't be stored: {error}.", "Look at the disk and the event store's file.")


class StoreGoneError(EventStoreError):
    """What was opened has no name any more, or another one has it."""


def gone(path: Path) -> StoreGoneError:
    return StoreGoneError("The event store's file is gone.", f"Restart to make {path} again.")


def open_for_writing(path: Path, busy_timeout: float, *, fsync: bool) -> tuple[sqlite3.Connection, FileIdentity]:
    """A connection in WAL mode, and which file it is on; with `fsync` its commits survive a power cut.

    The file is made with mode 0600 before SQLite sees it; SQLite gives its -wal and -shm files the same mode.

    Raises:
        OSError, sqlite3.Error: it can't be made or opened.
        EventStoreError: it can't be a durable event store.
    """
    _make_private(path)
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        _make_durable(connection, path, fsync=fsync)
        _migrate(connection, path)
        identity = identify(path)
        if identity is None:
            raise FileNotFoundError(path)  # noqa: TRY301  for the one handler below
    except BaseException:
        connection.close()
        raise
    return connection, identity


def open_for_reading(path: Path, busy_timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=busy_timeout)


def identify(path: Path | str) -> FileIdentity | None:
    """Which file `path` names now; None if it names none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _make_private(path: Path) -> None:
    """Make the file, or close it to others.

    An existing file is never opened here: closing it again would drop the locks that SQLite holds on it for other
    connections of this process (sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    except FileExistsError:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise EventStoreError(f"The event store {path} is not a file.") from None
        if stat.S_IMODE(status.st_mode) != PRIVATE_FILE:
            path.chmod(PRIVATE_FILE)
        return
    os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # else a power cut could lose the file's name
    finally:
        os.close(folder)


def _make_durable(connection: sqlite3.Connection, path: Path, *, fsync: bool) -> None:
    # Each commit writes the page that it filled: half of the usual size takes two thirds of the time. A file that
    # has pages keeps their size.
    connection.execute("PRAGMA page_size = 2048")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise EventStoreError(f"The event store {path} can't use a write-ahead log.", "Put it on a local disk.")
    connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in range(VERSION + 1):
        raise EventStoreError(f"The event store {path} is of version {version}.", "Use the Garrison that made it.")
    if version == 0:
        for statement in SCHEMA:
            connection.execute(statement)
    if version < VERSION:
        connection.execute(JOURNALS)
        connection.execute(f"PRAGMA user_version = {VERSION:d}")
    connection.execute("COMMIT")
