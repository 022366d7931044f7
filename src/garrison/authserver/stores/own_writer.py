"""Writing to SQLite by its own driver: many transactions as one, so that one wait for the disk serves them all."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from garrison.authserver.stores.statements import Result, Statement, Transaction

Act = Callable[[Transaction], Any]
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
"""What each connection that writes begins with; a commit is on the disk when it returns."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act returned, or raised."""

    result: Any = None
    error: Exception | None = None


class _OwnTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: Statement, **values: Any) -> Result:
        return self._connection.execute(statement.sql, values)


class OwnWriter:
    """A connection to the file at `path`, for one thread at a time; opened when it is first used, and after a failure.

    Args:
        path: of a database that is there; none is made.
        timeout: seconds that another process's lock is waited for.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._address = f"{Path(path).absolute().as_uri()}?mode=rw"
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None

    def together(self, acts: Sequence[Act]) -> list[Outcome]:
        """What each of `acts` came to, one after another in one transaction that is committed when this returns.

        What one of them raises undoes that one alone.

        Raises:
            sqlite3.Error: none of them has happened.
        """
        try:
            connection = self._connection = self._connection or self._open()
            connection.execute("BEGIN IMMEDIATE")  # upgrading later fails when another has written in between
            outcomes = [_outcome(connection, act) for act in acts]
            connection.execute("COMMIT")
        except BaseException:
            self.close()  # which rolls back
            raise
        return outcomes

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._address, uri=True, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _outcome(connection: sqlite3.Connection, act: Act) -> Outcome:
    """Where SQLite has rolled back by itself, as when the disk is full, there is no savepoint, and all have failed."""
    connection.execute("SAVEPOINT act")
    try:
        outcome = Outcome(act(_OwnTransaction(connection)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is for whoever asked for this act
        outcome = Outcome(error=error)
        connection.execute("ROLLBACK TO act")
    connection.execute("RELEASE act")
    return outcome
