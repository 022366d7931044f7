"""Statements that are compiled once, and what carries them out: SQLite's own driver, or the engine.

SQLAlchemy builds, looks up and takes apart each statement at each use, which costs ten times what SQLite does. What is
done for most requests is written down once instead, still for any database.
"""

from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

SQLITE = sqlite.dialect(paramstyle="named")


class Statement:
    """Args:
    query: with `sa.bindparam` for what differs from use to use.
    columns: those that an insert fills, each with the value of its name.
    """

    def __init__(self, query: sa.Select[Any] | sa.Update | sa.Delete | sa.Insert, *columns: str) -> None:
        self.query = query
        self.sql = str(query.compile(dialect=SQLITE, column_keys=columns or None))


class Result(Protocol):
    """What `sqlite3.Cursor` and SQLAlchemy's result have in common."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...


class Transaction(Protocol):
    """A transaction, for as long as the function runs that it was given to."""

    def execute(self, statement: Statement, **values: Any) -> Result: ...


class EngineTransaction:
    """One on any database."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def execute(self, statement: Statement, **values: Any) -> Result:
        return self._connection.execute(statement.query, values)
