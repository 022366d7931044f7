"""The database behind the verbs: SQLite (WAL) by default, PostgreSQL by its URL.

A verb is a function that takes a `Store` and does one atomic thing; the modules beside this one hold them.
"""

import os
import sqlite3
from asyncio import Lock
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from garrison.authserver.stores import migrations
from garrison.authserver.stores.lookup import Lookup, OwnReader
from garrison.authserver.stores.own_writer import PRAGMAS, OwnWriter
from garrison.authserver.stores.statements import EngineTransaction, Transaction
from garrison.authserver.stores.tables import clients
from garrison.authserver.stores.together import Together
from garrison.base.errors import GarrisonError, UsageError
from garrison.base.files import PRIVATE_FILE

T = TypeVar("T")

LOCK_TIMEOUT = 5.0
"""Seconds that a connection, a lock or a statement is waited for."""

_EXCLUSIVE = int.from_bytes(b"garrison")
"""The name of our advisory lock in PostgreSQL, a number."""

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


class StoreUnavailableError(GarrisonError):
    """The database can't be reached, or is locked for too long."""


class Store:
    def __init__(self, url: str) -> None:
        self.url = _as_url(url)
        self._sqlite = self.url.get_backend_name() == "sqlite"
        try:
            # Parameters are hashes and names of people: they don't belong into an exception's text.
            self._engine = create_async_engine(self.url, hide_parameters=True, **_options(self.url))
        except (ImportError, ArgumentError, InvalidRequestError):
            driver = self.url.drivername
            raise UsageError(
                f"there is no asynchronous driver {driver}", "For PostgreSQL: pip install garrison[postgres]."
            ) from None
        self._turn = Lock()
        self._own: OwnReader | None = None
        self._writer: OwnWriter | None = None
        if self._sqlite and self.url.database and not self.url.query:
            self._own, self._writer = OwnReader(self.url.database), OwnWriter(self.url.database, LOCK_TIMEOUT)
            self._together = Together(self._writer.together, self._turn)
        if self._sqlite:
            sa.event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
        else:
            sa.event.listen(self._engine.sync_engine, "connect", _prepare_postgresql)

    async def open(self) -> None:
        """Make the database, private to its owner, and bring its tables to this version; those who do so at once wait
        for each other.

        Raises:
            StoreUnavailableError: it can't be done.
            GarrisonError: the database is newer than this code.
        """
        await self.migrate()

    async def migrate(self) -> str | None:
        """As `open`; returns the version that the tables had, None if there were none."""
        if self._sqlite:
            _make_private_file(self.url)
        async with self.read() as connection:
            if await connection.run_sync(migrations.version) == migrations.HEAD:
                return migrations.HEAD
        async with self.exclusive() as connection:
            return await connection.run_sync(migrations.upgrade)

    async def ping(self) -> None:
        """Raises `StoreUnavailableError` if the database does not answer, or has no tables."""
        async with self.read() as connection:
            await connection.execute(clients.select().limit(1))

    async def close(self) -> None:
        if self._own:
            self._own.close()
        if self._writer:
            async with self._turn:
                self._writer.close()
        await self._engine.dispose()

    async def find(self, lookup: Lookup[T], **values: Any) -> T | None:
        """What `lookup` makes of its row, as the row is at this moment; None if there is none."""
        if self._own is None:
            return await self._found(lookup, values)
        try:
            return self._own.find(lookup, values)
        except sqlite3.Error:
            return await self._found(lookup, values)

    async def _found(self, lookup: Lookup[T], values: Mapping[str, Any]) -> T | None:
        """The same in a way that can wait, and that says what is wrong."""
        async with self.read() as connection:
            row = (await connection.execute(lookup.query, values)).one_or_none()
        return lookup.make(row) if row else None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one moment's state."""
        async with _reported(), self._engine.connect() as connection:
            await connection.execution_options(reads_only=True)
            yield connection

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[AsyncConnection]:
        """A transaction like `write`, of which there is one at a time, in all processes together."""
        async with self.write() as connection:
            if not self._sqlite:  # where every writer is alone
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_EXCLUSIVE)))
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end unless the block raises.

        On SQLite it holds the write lock from its first statement, and one process's writers queue here rather than
        poll SQLite's lock.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(_reported())
            if self._sqlite:
                await stack.enter_async_context(self._turn)
            yield await stack.enter_async_context(self._engine.begin())

    async def transact(self, act: Callable[[Transaction], T]) -> T:
        """What `act` returns, once its transaction is committed: like `write`, for what is done for most requests.

        On SQLite it goes to a thread as one piece, where `write` goes there and back for each statement, and together
        with others that are asked for at the time.
        """
        if self._writer is None:
            async with self.write() as connection:
                return await connection.run_sync(lambda own: act(EngineTransaction(own)))
        async with _reported():
            done: T = await self._together.do(act)
        return done


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """The store at `url` (a SQLAlchemy URL or a SQLite file's path), opened and closed again."""
    store = Store(url)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


@cache
def _failures() -> tuple[type[Exception], ...]:
    """What a database that is not there raises. asyncpg's errors on connecting are its own, and it is an extra."""
    try:
        asyncpg: Any = import_module("asyncpg")
    except ImportError:
        return SQLAlchemyError, OSError, sqlite3.Error
    return SQLAlchemyError, OSError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError


@asynccontextmanager
async def _reported() -> AsyncIterator[None]:
    """Failures of the database as one error, without its text: that may hold addresses and credentials."""
    try:
        yield
    except (IntegrityError, sqlite3.IntegrityError):
        raise
    except _failures() as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise StoreUnavailableError(
            f"the authorization server's database is not available ({type(cause).__name__})",
            "Check database_url, and that its file or server can be reached and written.",
        ) from None


def _options(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": LOCK_TIMEOUT}}
    if url.drivername == "postgresql+asyncpg":
        # A connection that died with the server is found out before it is used, so that no restart of ours is needed.
        timeouts = {"timeout": LOCK_TIMEOUT, "command_timeout": LOCK_TIMEOUT}
        return {"pool_pre_ping": True, "pool_timeout": LOCK_TIMEOUT, "connect_args": timeouts}
    return {"pool_pre_ping": True}


def _as_url(url: str) -> sa.URL:
    if "://" not in url:
        return sa.URL.create("sqlite+aiosqlite", database=url)
    try:
        made = sa.make_url(url)
    except ArgumentError:  # its text would quote the password in the URL
        raise UsageError("database_url is neither a SQLAlchemy URL nor a path") from None
    return made.set(drivername=_DRIVERS.get(made.drivername, made.drivername))


def _make_private_file(url: sa.URL) -> None:
    """SQLite gives the -wal and -shm files the mode of the database's own file."""
    if not url.database or url.database == ":memory:":
        raise StoreUnavailableError("the authorization server's database must be a file", "Set database_url to a path.")
    path = Path(url.database)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
        path.chmod(PRIVATE_FILE)
    except OSError as error:
        raise StoreUnavailableError(
            f"the database file {path} can't be opened ({error.strerror})", "Check its folder and its owner."
        ) from None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own transactions off: BEGIN is ours, below
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    """A server that forgets its last commits when it crashes would let a code be used twice; stricter is left alone."""
    cursor = connection.cursor()
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()
    connection.commit()


def _begin_sqlite(connection: sa.Connection) -> None:
    """A writer takes the write lock at once: upgrading later fails when another has written in between."""
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
