"""Journals: what is in one is durable, and comes into the database once, whoever moves it and whoever is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from garrison.base.errors import EventStoreError
from garrison.base.events import Event, Kind
from garrison.monitor.collect import Collector
from garrison.monitor.database import open_for_writing
from garrison.monitor.journal import MAX_LINE, Journal, journals, to_line
from garrison.monitor.journaled import JournaledWriter
from garrison.monitor.store import EventStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.monitor.conftest import StartProgram


def event(target: str = "") -> Event:
    return Event(kind=Kind.CALL_ALLOWED, correlation_id="c", target=target, time=1.0)


def targets(events: list[Event]) -> list[str]:
    return [one.target for one in events]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@pytest.fixture
def collector(path: Path) -> Iterator[Collector]:
    connection, identity = open_for_writing(path, 60, fsync=False)
    yield Collector(path, connection, identity)
    connection.close()


async def written_until(store: EventStore, error: str) -> int:
    """How many events could be written before one was refused."""
    for number in range(100_000):
        try:
            await store.write(event(str(number)))
        except EventStoreError as refused:
            if error in refused.message:
                return number
            raise
        await asyncio.sleep(0)
    pytest.fail("nothing was refused")


async def until_healthy(store: EventStore, *, healthy: bool = True) -> None:
    async with asyncio.timeout(60):
        while store.healthy != healthy:
            await asyncio.sleep(0.001)


def stored(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = [row[0] for row in connection.execute("SELECT target FROM events ORDER BY cursor")]
    connection.close()
    return found


async def test_a_locked_database_holds_nobody_up_and_misses_nothing(path: Path) -> None:
    async with EventStore(path, busy_timeout=0.01) as store:
        with locked(path):
            await store.write(event("patient"))
            await until_healthy(store, healthy=False)  # it is seen that the database takes nothing
            await store.write(event("too"))
        assert targets(await store.recent()) == ["patient", "too"]
        assert store.healthy


async def test_what_waits_for_the_database_has_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garrison.monitor.journaled.MAX_BACKLOG", 2000)
    async with EventStore(path, busy_timeout=0.01) as store:
        with locked(path):
            written = await written_until(store, "too many wait")
            assert not store.healthy
        assert targets(await store.recent()) == [str(number) for number in range(written)]
        await store.write(event("next"))


async def test_what_is_to_be_stored_soon_has_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garrison.monitor.journaled.MAX_HELD", 3)
    monkeypatch.setattr("garrison.monitor.journaled.SOON", 60)
    async with EventStore(path) as store:
        for name in "abc":
            store.write_soon(event(name))
        with pytest.raises(EventStoreError, match="takes none"):
            store.write_soon(event("d"))
        await store.write(event("next"))
        assert targets(await store.recent()) == ["a", "b", "c", "next"]


async def test_while_it_can_be_stored_nowhere_it_is_kept_up_to_a_bound(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("garrison.monitor.journaled.RETRY", 0.001)
    hidden = path.with_name("elsewhere.db")
    async with EventStore(path) as store:
        await store.write(event("first"))
        assert await store.cursor() == 1
        path.rename(hidden)
        store.write_soon(event("held"))
        await until_healthy(store, healthy=False)
        with pytest.raises(EventStoreError, match="gone"):
            await store.write(event("refused"))
        hidden.rename(path)
        await until_healthy(store)
        await store.write(event("next"))
        assert targets(await store.recent()) == ["first", "held", "next"]
    assert caplog.text.count("events wait to be stored") == 1


async def test_closing_leaves_no_journal_and_no_entry_of_one(path: Path) -> None:
    async with EventStore(path) as store:
        await store.write(event("x"))
        assert len(journals(path)) == 1
    assert journals(path) == []
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM journals").fetchone() == (0,)
    connection.close()


async def test_what_could_not_be_moved_at_closing_is_moved_by_the_next(path: Path) -> None:
    store = EventStore(path, busy_timeout=0.01)
    await store.open()
    await store.recent()
    with locked(path):
        await store.write(event("left"))
        await store.aclose()
    assert stored(path) == []
    async with EventStore(path) as next_one:
        assert targets(await next_one.recent()) == ["left"]
        assert len(journals(path)) == 1


async def test_the_journal_of_a_killed_process_is_moved_and_deleted(path: Path, start_program: StartProgram) -> None:
    program = start_program(
        """
import os, signal
async def main():
    async with EventStore(path) as store:
        for n in range(100): await store.write(event(str(n)))
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    )
    assert await asyncio.to_thread(program.wait) == -signal.SIGKILL
    (journal,) = journals(path)
    async with EventStore(path) as store:
        assert targets(await store.recent(200)) == [str(n) for n in range(100)]
    assert not journal.exists()


async def test_a_long_journal_gives_way_to_a_new_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garrison.monitor.journaled.LONG", 1000)
    async with EventStore(path) as store:
        seen = set(journals(path))
        for number in range(200):
            await store.write(event(str(number)))
            if number % 20 == 0:
                await store.recent()
                seen |= set(journals(path))
                assert len(journals(path)) <= 2
        assert targets(await store.recent(1000)) == [str(number) for number in range(200)]
    assert len(seen) > 3
    assert journals(path) == []


async def test_who_moves_and_is_killed_moves_nothing_twice(path: Path, start_program: StartProgram) -> None:
    """Movers of the same journal are killed at whatever moment; what they moved, others don't."""
    journal = Journal(path)
    for number in range(2000):
        journal.append(to_line(event(str(number))))
    code = """
import garrison.monitor.collect as collect
collect._PORTION = 4000
from garrison.monitor.database import open_for_writing
connection, identity = open_for_writing(path, 60, fsync=False)
print("begun", flush=True)
collect.Collector(path, connection, identity).collect_all()
"""
    for _ in range(3):
        movers = [start_program(code) for _ in range(2)]
        for mover in movers:
            assert mover.stdout is not None
            await asyncio.to_thread(mover.stdout.readline)
            mover.send_signal(signal.SIGKILL)
            await asyncio.to_thread(mover.wait)
    journal.close()
    async with EventStore(path) as store:
        await store.recent()
    assert Counter(stored(path)) == Counter(str(number) for number in range(2000))


def test_who_opened_a_journal_that_another_deleted_moves_nothing_of_it(path: Path, collector: Collector) -> None:
    journal = Journal(path)
    journal.append(to_line(event("once")))
    descriptor = os.open(journal.path, os.O_RDONLY)
    collector.collect(journal.path, journal.descriptor)
    collector.forget(journal.path)
    collector._move(journal.path.name, descriptor)
    assert stored(path) == ["once"]
    os.close(descriptor)
    journal.close()


def test_what_is_deleted_under_a_readers_hands_is_its_owners_to_move(path: Path, collector: Collector) -> None:
    journal = Journal(path)
    journal.append(to_line(event("once")))
    descriptor = os.open(journal.path, os.O_RDONLY)
    journal.path.unlink()
    collector._move(journal.path.name, descriptor)
    assert stored(path) == []
    collector.collect(journal.path, journal.descriptor)
    assert stored(path) == ["once"]
    os.close(descriptor)
    journal.close()


def test_a_journal_in_use_is_moved_but_not_deleted(path: Path, collector: Collector) -> None:
    journal = Journal(path)
    journal.append(to_line(event("a")))
    collector.collect_all()
    assert journal.path.exists()
    journal.append(to_line(event("b")))
    collector.collect_all()
    assert stored(path) == ["a", "b"]
    journal.close()
    collector.collect_all()
    assert not journal.path.exists()


def test_a_part_of_an_event_waits_for_its_rest_and_spoils_none(path: Path, collector: Collector) -> None:
    journal = Journal(path)
    line = to_line(event("whole"))
    journal.append(line + line[:20])
    collector.collect_all()
    assert stored(path) == ["whole"]
    journal.append(line[20:])
    collector.collect_all()
    assert stored(path) == ["whole", "whole"]
    journal.close()


def test_what_is_no_event_is_passed_over_and_said(
    path: Path, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(path)
    journal.append(bytes(100) + b"\n" + to_line(event("good")))
    collector.collect_all()
    assert stored(path) == ["good"]
    assert caplog.text.count("no event") == 1
    journal.close()


def test_what_another_version_wrote_is_left_to_it(path: Path, collector: Collector) -> None:
    journal = Journal(path)
    journal.append(to_line(event("known")) + b'{"kind":"of.tomorrow","correlation_id":"c"}\n' + to_line(event("after")))
    journal.close()
    collector.collect_all()
    collector.collect_all()
    assert stored(path) == ["known"]
    assert journal.path.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/hostname")])
def test_what_is_no_journal_is_left_alone(path: Path, collector: Collector, make: object) -> None:
    assert callable(make)
    stranger = path.with_name(f"{path.name}.pending-{0:016x}-{0:08x}")
    make(stranger)
    collector.collect_all()
    assert os.path.lexists(stranger)
    assert stored(path) == []


@pytest.mark.parametrize("can_be_cut", [True, False])
def test_a_part_of_an_event_is_taken_back_and_what_was_whole_comes_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, can_be_cut: bool
) -> None:
    monkeypatch.setattr("garrison.monitor.journaled.SOON", 60)
    writer = JournaledWriter(path, busy_timeout=60)
    writer.flush()
    for name in ("held", "too"):
        writer.submit_soon(event(name))
    write, half = os.write, len(to_line(event("held"))) + 9
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:half]))
    if not can_be_cut:
        monkeypatch.setattr(os, "ftruncate", _refuse)
    with pytest.raises(EventStoreError, match="took a part"):
        writer.submit(event("refused"))
    monkeypatch.undo()
    writer.submit(event("after"))
    writer.close()
    assert writer.healthy
    assert stored(path) == ["held", "too", "after"]
    assert journals(path) == []


def _refuse(*_: object) -> None:
    raise OSError("no")


class NotedLock:
    """A lock that says when somebody comes for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked = threading.Event()

    def __enter__(self) -> None:
        self.asked.set()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_closing_hangs_for_no_turn_that_began_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournaledWriter(path, busy_timeout=60)
    writer.flush()
    noted = NotedLock()
    monkeypatch.setattr(writer, "_turning", noted)
    with noted.lock:  # as a reader has it
        writer.submit(event("x"))
        assert noted.asked.wait(60)
        ending = threading.Thread(target=writer.close, daemon=True)
        ending.start()
        assert writer._closing.wait(60)
        writer._turn()
    ending.join(60)
    assert not ending.is_alive()


def test_a_turn_after_the_end_touches_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = JournaledWriter(path, busy_timeout=60)
    writer.close()
    writer.flush()
    assert journals(path) == []
    assert caplog.text == ""


async def test_who_needs_power_cuts_survived_takes_in_what_was_left(path: Path) -> None:
    left = Journal(path)
    left.append(to_line(event("left")))
    left.close()
    async with EventStore(path, durability="power") as store:
        await store.write(event("new"))
        assert targets(await store.recent()) == ["left", "new"]


async def test_a_copy_of_a_journal_is_no_journal(path: Path, collector: Collector) -> None:
    journal = Journal(path)
    journal.append(to_line(event("once")))
    journal.path.with_name(f"{journal.path.name}.bak").write_bytes(journal.path.read_bytes())
    collector.collect_all()
    assert stored(path) == ["once"]
    journal.close()


async def test_a_store_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "events[1]*.db"
    left = Journal(path)
    left.append(to_line(event("left")))
    left.close()
    async with EventStore(path) as store:
        assert targets(await store.recent()) == ["left"]


async def test_long_events_are_not_kept_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garrison.monitor.journaled.SOON", 60)
    async with EventStore(path) as store:
        assert await store.recent() == []
        store.write_soon(event("short"))
        store.write_soon(event("x" * 10_000))
        (journal,) = journals(path)
        assert journal.stat().st_size > 10_000
        assert [len(one.target) for one in await store.recent()] == [5, 10_000]


def test_a_journal_that_was_deleted_takes_nothing_more_and_lost_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("garrison.monitor.journaled.SOON", 60)
    writer = JournaledWriter(path, busy_timeout=60)
    writer.submit(event("before"))
    for journal in journals(path):
        journal.unlink()
    with pytest.raises(EventStoreError, match="gone"):
        writer.submit(event("nowhere"))
    writer.submit(event("after"))
    writer.close()
    assert sorted(stored(path)) == ["after", "before"]


def test_a_journal_whose_place_another_file_took_loses_nothing_and_is_given_up_at_the_next_turn(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = JournaledWriter(path, busy_timeout=60)
    writer.flush()
    with writer._turning:  # nobody looks for as long
        writer.submit(event("before"))
        (replaced,) = journals(path)
        other = path.with_name("other")
        other.write_bytes(replaced.read_bytes() * 2)
        other.rename(replaced)
        writer.submit(event("meanwhile"))
    for number in range(3):
        writer.flush()
        writer.submit(event(f"after-{number}"))
    assert writer._journal.path != replaced
    writer.close()
    assert stored(path) == ["before", "meanwhile", "after-0", "after-1", "after-2"]
    assert journals(path) == []
    assert caplog.text.count("has taken the place of the journal") == 1


def test_an_event_has_a_greatest_length(path: Path) -> None:
    with pytest.raises(EventStoreError, match="too long"):
        to_line(event("x" * MAX_LINE))
    assert len(to_line(event("x" * (MAX_LINE - 1000)))) < MAX_LINE


async def test_a_store_without_journals_is_brought_up(path: Path) -> None:
    async with EventStore(path) as store:
        await store.write(event("old"))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TABLE journals")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    async with EventStore(path) as store:
        await store.write(event("new"))
        assert targets(await store.recent()) == ["old", "new"]


async def test_what_a_killed_process_left_is_moved_without_being_asked_for(path: Path) -> None:
    left = Journal(path)
    left.append(to_line(event("left")))
    left.close()
    async with EventStore(path), asyncio.timeout(60):
        while left.path.exists():
            await asyncio.sleep(0.001)
    assert stored(path) == ["left"]


def test_a_journal_of_another_user_is_left_alone(
    path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    journal.append(to_line(event("forged")))
    journal.close()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    collector.collect_all()
    assert stored(path) == []
