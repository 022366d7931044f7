"""Transactions that are made together: each is there alone, and nobody is told of one that is not on the disk."""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from garrison.authserver.stores.own_writer import Act, Outcome, OwnWriter
from garrison.authserver.stores.statements import Statement, Transaction
from garrison.authserver.stores.store import StoreUnavailableError
from garrison.authserver.stores.tables import revoked_tokens
from garrison.authserver.stores.together import AT_ONCE
from tests.authserver.world import ON_EVERY_ENGINE, World

FAR = 1e12
"""Seconds since the epoch; what has expired may be purged at any moment."""
_INSERT = Statement(revoked_tokens.insert(), "jti", "expires_at")


def adding(jti: str, then: Exception | None = None) -> Act:
    def add(transaction: Transaction) -> str:
        transaction.execute(_INSERT, jti=jti, expires_at=FAR)
        if then:
            raise then
        return jti

    return add


async def kept(world: World) -> set[str]:
    async with world.store.read() as connection:
        return set(await connection.scalars(sa.select(revoked_tokens.c.jti)))


@ON_EVERY_ENGINE
async def test_what_one_raises_undoes_that_one_alone(world: World) -> None:
    acts = [adding("a"), adding("b", then=ValueError("b")), adding("c")]
    a, b, c = await asyncio.gather(*(world.store.transact(act) for act in acts), return_exceptions=True)
    assert (a, str(b), c) == ("a", "b", "c")
    assert await kept(world) == {"a", "c"}


async def test_those_that_are_asked_for_while_one_is_under_way_are_one_transaction(world: World) -> None:
    batches: list[int] = []
    assert world.store._writer is not None
    work = world.store._writer.together

    def counted(acts: Sequence[Act]) -> Sequence[Outcome]:
        batches.append(len(acts))
        return work(acts)

    world.store._together._work = counted
    names = [f"token {number}" for number in range(AT_ONCE + 2)]
    assert await asyncio.gather(*(world.store.transact(adding(name)) for name in names)) == names
    assert batches == [AT_ONCE, 2]
    assert await kept(world) == {*names}


async def test_if_the_commit_fails_none_of_them_has_happened_and_all_are_told(world: World) -> None:
    class Failing(sqlite3.Connection):
        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            if statement == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(statement, *values)  # type: ignore[arg-type]

    writer = world.store._writer
    assert writer is not None
    assert world.store.url.database
    writer._connection = sqlite3.connect(
        world.store.url.database, isolation_level=None, check_same_thread=False, factory=Failing
    )
    told = await asyncio.gather(*(world.store.transact(adding(name)) for name in "ab"), return_exceptions=True)
    assert [type(answer) for answer in told] == [StoreUnavailableError] * 2
    assert not await kept(world)
    assert await world.store.transact(adding("c")) == "c", "a new connection is opened"
    assert await kept(world) == {"c"}


async def test_when_sqlite_has_rolled_all_back_by_itself_nothing_is_committed(world: World) -> None:
    def full(transaction: Transaction) -> None:
        # What SQLite does when the disk is full (sqlite.org/lang_transaction.html §3).
        transaction.execute(_RollBack())  # type: ignore[arg-type]
        raise sqlite3.OperationalError("database or disk is full")

    acts = [adding("a"), full, adding("b")]
    told = await asyncio.gather(*(world.store.transact(act) for act in acts), return_exceptions=True)
    assert [type(answer) for answer in told] == [StoreUnavailableError] * 3
    assert not await kept(world)


class _RollBack:
    sql = "ROLLBACK"


async def test_whoever_is_no_longer_there_to_be_told_holds_up_nobody(world: World) -> None:
    gone = asyncio.create_task(world.store.transact(adding("a")))
    await asyncio.sleep(0)
    gone.cancel()
    assert await world.store.transact(adding("b")) == "b"
    assert await asyncio.wait([gone])


async def test_if_the_writing_is_cancelled_all_who_wait_are_told(world: World) -> None:
    """What a thread is about is waited for: it has the connection, which two threads at once would wreck."""
    together = world.store._together
    begun, go_on, work = asyncio.Event(), threading.Event(), together._work
    loop = asyncio.get_running_loop()

    def slow(acts: Sequence[Act]) -> Sequence[Outcome]:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        return work(acts)

    together._work = slow
    taken = asyncio.create_task(world.store.transact(adding("a")))
    await begun.wait()
    waiting = asyncio.create_task(world.store.transact(adding("b")))
    await asyncio.sleep(0)
    assert together._task is not None
    together._task.cancel()
    await asyncio.sleep(0)
    assert world.store._turn.locked()
    go_on.set()
    assert await taken == "a"
    with pytest.raises(StoreUnavailableError):
        await waiting
    assert await world.store.transact(adding("c")) == "c"
    assert await kept(world) == {"a", "c"}


async def test_if_the_writing_is_cancelled_before_it_began_who_waits_is_told(world: World) -> None:
    waiting = asyncio.create_task(world.store.transact(adding("a")))
    await asyncio.sleep(0)
    assert world.store._together._task is not None
    world.store._together._task.cancel()
    with pytest.raises(StoreUnavailableError):
        await waiting
    assert await world.store.transact(adding("b")) == "b"
    assert await kept(world) == {"b"}


async def test_a_commit_is_on_the_disk_and_no_file_is_ever_made(world: World, tmp_path: Path) -> None:
    await world.store.transact(adding("a"))
    writer = world.store._writer
    assert writer is not None
    assert writer._connection is not None
    asked = {
        name: writer._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "foreign_keys")
    }
    assert asked == {"synchronous": 2, "foreign_keys": 1}
    with pytest.raises(sqlite3.OperationalError):
        OwnWriter(str(tmp_path / "none.db"), 1.0).together([])
    assert not (tmp_path / "none.db").exists()
