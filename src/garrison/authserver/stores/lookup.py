"""Looking one row up: on SQLite on the caller's own thread, else through the engine.

In WAL mode a reader waits for no writer, and the row is in memory as a rule: reading it takes some ten microseconds,
where the engine's way through a thread of the driver's takes many hundred. Nothing is remembered here but what a row's
text means. The database is asked each time, so what an operator or another replica has changed holds at once.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from garrison.authserver.stores.statements import SQLITE, Statement

T = TypeVar("T")


class Lookup(Statement, Generic[T]):
    """A query for at most one row, and what is made of the row.

    Args:
        query: with `sa.bindparam` for what it is asked with.
        make: the row has the columns' names as attributes.
        remembered: of how many rows to keep what they mean; for those that are asked for again and again.
    """

    def __init__(self, query: sa.Select[Any], make: Callable[[Any], T], *, remembered: int = 0) -> None:
        super().__init__(query)
        self.make = make
        self._columns = [(name, _reader(column)) for name, column in query.selected_columns.items()]
        self.from_text = lru_cache(remembered)(self._from_text) if remembered else self._from_text

    def _from_text(self, values: tuple[Any, ...]) -> T:
        """The same of what SQLite has stored, where JSON is text and a boolean a number."""
        pairs = zip(self._columns, values, strict=True)
        return self.make(SimpleNamespace(**{name: read(value) for (name, read), value in pairs}))


class OwnReader:
    """A connection to the file at `path`, for one thread; opened when it is first used, and again after a failure."""

    def __init__(self, path: str) -> None:
        self._address = f"{Path(path).absolute().as_uri()}?mode=rw"  # never makes the file
        self._connection: sqlite3.Connection | None = None

    def find(self, lookup: Lookup[T], values: Mapping[str, Any]) -> T | None:
        """Raises `sqlite3.Error`: the row has to be asked for in a way that can wait, and that says what is wrong."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._address, uri=True, timeout=0, isolation_level=None)
                self._connection.execute("PRAGMA query_only = ON")
            rows = self._connection.execute(lookup.sql, values).fetchall()
        except sqlite3.Error:
            self.close()
            raise
        return lookup.from_text(rows[0]) if rows else None

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _reader(column: sa.ColumnElement[Any]) -> Callable[[Any], Any]:
    return column.type.dialect_impl(SQLITE).result_processor(SQLITE, None) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
