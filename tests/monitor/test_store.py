"""The event store: what `write` says is durable is there, and what isn't is an error for whoever waits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import pytest

from garrison.base.errors import EventStoreError
from garrison.base.events import Event, Kind, Severity, emit
from garrison.monitor.group_commit import GroupCommitWriter
from garrison.monitor.journaled import JournaledWriter
from garrison.monitor.store import EventStore

if TYPE_CHECKING:
    from tests.monitor.conftest import StartProgram


def event(target: str = "", kind: Kind = Kind.CALL_ALLOWED) -> Event:
    return Event(kind=kind, correlation_id="c", target=target)


def targets(events: list[Event]) -> list[str]:
    return [one.target for one in events]


async def test_an_event_comes_back_as_it_was_written(store: EventStore) -> None:
    written = Event(
        kind=Kind.CALL_DENIED,
        correlation_id="c1",
        subject="alice",
        client_id="app",
        address="::1",
        target="tools/call pay",
        reason="missing scope",
        detail={"text": "\u00e4\U0001f600", "whole": 2**70, "part": 0.5, "yes": True, "nothing": None},
        time=1_800_000_000.25,
    )
    await store.write(written)
    assert await store.recent() == [written]


async def test_an_event_without_time_gets_that_of_its_writing(path: Path) -> None:
    async with EventStore(path, clock=lambda: 42.0) as store:
        await store.write(event())
        assert (await store.recent())[0].time == 42.0


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_the_store_stays_where_it_is_when_the_app_goes_to_another_folder(
    path: Path, durability: Literal["process", "power"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    async with EventStore(Path(path.name), durability=durability) as store:
        monkeypatch.chdir("/")
        await store.write(event("here"))
        assert targets(await store.recent()) == ["here"]
        await store.write(event("still"))


async def test_events_are_still_there_after_opening_again(path: Path) -> None:
    for name in ("first", "second"):
        async with EventStore(path) as store:
            await store.write(event(name))
    async with EventStore(path) as store:
        assert targets(await store.recent()) == ["first", "second"]


async def test_what_was_reported_written_survives_a_kill(path: Path, start_program: StartProgram) -> None:
    program = start_program(
        """
async def report(store, name):
    await store.write(event(name))
    print(name, flush=True)

async def main():
    async with EventStore(path) as store:
        for n in range(1_000_000):
            await asyncio.gather(*(report(store, f"{n}-{m}") for m in range(20)))

asyncio.run(main())
"""
    )
    assert program.stdout is not None
    reported = [program.stdout.readline().strip() for _ in range(300)]
    program.send_signal(signal.SIGKILL)
    reported += program.stdout.read().split()
    async with EventStore(path) as store:
        stored = set(targets(await store.recent(1_000_000)))
    assert len(reported) >= 300
    assert set(reported) <= stored


async def test_every_commit_waits_for_the_disk(power_store: EventStore) -> None:
    assert power_store._writer is not None
    connection = power_store._writer._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_five_hundred_writes_at_once_share_few_commits(power_store: EventStore, path: Path) -> None:
    names = [str(n) for n in range(500)]
    await asyncio.gather(*(power_store.write(event(name)) for name in names))
    assert sorted(targets(await power_store.recent(1000))) == sorted(names)
    assert _commits(path.with_name("events.db-wal").read_bytes()) < 100


def _commits(wal: bytes) -> int:
    """Commit frames of a write-ahead log (sqlite.org/fileformat2.html, section 4.1)."""
    frame = 24 + int.from_bytes(wal[8:12], "big")
    return sum(wal[start + 4 : start + 8] != bytes(4) for start in range(32, len(wal), frame))


async def test_two_processes_append_to_one_file(path: Path, start_program: StartProgram, store: EventStore) -> None:
    code = """
async def main():
    async with EventStore(path, busy_timeout=30) as store:
        await asyncio.gather(*(store.write(event(f"{sys.argv[2]}{n}")) for n in range(250)))
asyncio.run(main())
"""
    programs = [start_program(code, name) for name in "ab"]
    assert [await asyncio.to_thread(program.wait) for program in programs] == [0, 0]
    assert sorted(targets(await store.recent(1000))) == sorted(f"{name}{n}" for name in "ab" for n in range(250))
    assert await store.cursor() == 500


async def test_many_processes_may_open_a_new_file_at_once(start_program: StartProgram) -> None:
    code = """
async def main():
    async with EventStore(path, busy_timeout=30) as store:
        await store.write(event("x"))
asyncio.run(main())
"""
    programs = [start_program(code) for _ in range(6)]
    assert [await asyncio.to_thread(program.wait) for program in programs] == [0] * 6


async def test_tail_sees_the_events_of_another_process(store: EventStore, start_program: StartProgram) -> None:
    await store.write(event("before"))
    seen = []
    async with asyncio.timeout(30):
        tail = store.tail(await store.cursor(), interval=0.01)
        start_program(
            """
async def main():
    async with EventStore(path) as store:
        for n in range(3):
            await store.write(event(str(n)))
asyncio.run(main())
"""
        )
        async for one in tail:
            seen.append(one.target)
            if len(seen) == 3:
                break
    assert seen == ["0", "1", "2"]


async def test_tail_begins_now_and_filters_by_kind(store: EventStore) -> None:
    await store.write(event("old", Kind.LOGIN_FAILED))
    tail = store.tail(kinds={Kind.LOGIN_FAILED}, interval=0.01)
    following = asyncio.ensure_future(anext(tail))
    while await store.cursor() < 200 and not following.done():
        await store.write(event("other"))
        await store.write(event("new", Kind.LOGIN_FAILED))
    assert (await following).target == "new"


async def test_recent_gives_the_last_events_newest_last(store: EventStore) -> None:
    for name in "abcde":
        await store.write(event(name, Kind.LOGIN_FAILED if name in "bd" else Kind.CALL_ALLOWED))
    assert targets(await store.recent(2)) == ["d", "e"]
    assert targets(await store.recent(kinds={Kind.LOGIN_FAILED})) == ["b", "d"]
    assert targets(await store.recent(2, cursor=1)) == ["b", "c"]
    assert targets(await store.recent(2, cursor=2, kinds={Kind.CALL_ALLOWED})) == ["c", "e"]
    assert await store.recent(kinds=set()) == []


async def test_counts_tell_every_severity(store: EventStore) -> None:
    assert await store.counts() == {Severity.INFO: 0, Severity.WARNING: 0, Severity.ERROR: 0}
    for kind in (Kind.CALL_ALLOWED, Kind.CALL_DENIED, Kind.LOGIN_FAILED, Kind.TOKEN_REUSED):
        await store.write(event("x", kind))
    assert await store.counts() == {Severity.INFO: 1, Severity.WARNING: 2, Severity.ERROR: 1}


async def test_the_files_are_for_their_owner_alone(store: EventStore, path: Path) -> None:
    await store.write(event())
    modes = {file.name.partition(".pending-")[0]: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"events.db": 0o600, "events.db-wal": 0o600, "events.db-shm": 0o600}


async def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.touch(0o644)
    path.chmod(0o644)
    async with EventStore(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_opening_twice_in_one_process_keeps_the_first_ones_lock(path: Path, start_program: StartProgram) -> None:
    async with EventStore(path) as first:
        await first.write(event("one"))
        async with EventStore(path) as second:
            await second.write(event("two"))
            # The last connection to close deletes the log; this process's locks must tell the other it isn't the last.
            program = start_program("import sqlite3; sqlite3.connect(path).execute('SELECT * FROM events').fetchall()")
            assert await asyncio.to_thread(program.wait) == 0
            assert path.with_name("events.db-wal").exists()
            await first.write(event("three"))
    async with EventStore(path) as store:
        assert targets(await store.recent()) == ["one", "two", "three"]


async def test_a_cancelled_write_does_not_hurt_the_others(power_store: EventStore) -> None:
    writes = [asyncio.ensure_future(power_store.write(event(str(n)))) for n in range(50)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 25
    assert {str(n) for n in range(1, 50, 2)} <= set(targets(await power_store.recent(100)))
    await power_store.write(event("after"))


async def test_an_event_that_cannot_be_stored_does_not_hurt_the_others(store: EventStore) -> None:
    bad = [
        event("\ud800"),
        Event(kind=Kind.CALL_ALLOWED, correlation_id="c", time=float("nan")),
        Event(kind=Kind.CALL_ALLOWED, correlation_id="c", detail={"x": float("inf")}),
        Event(kind=Kind.CALL_ALLOWED, correlation_id="c", subject=cast("str", None)),
        Event(kind=Kind.CALL_ALLOWED, correlation_id="c", detail=cast("dict[str, str]", {"x": ["y"]})),
    ]
    results = await asyncio.gather(*map(store.write, [*bad, event("good")]), return_exceptions=True)
    assert [type(result) for result in results] == [EventStoreError] * 5 + [type(None)]
    assert targets(await store.recent()) == ["good"]


async def test_what_ended_is_stored_with_the_next_event_and_before_it(path: Path) -> None:
    async with EventStore(path) as store, EventStore(path) as other:
        store.write_soon(event("ended"))
        assert await other.recent() == []
        await store.write(event("next"))
        assert targets(await other.recent()) == ["ended", "next"]


async def test_what_ended_is_stored_after_a_moment_if_nothing_follows(path: Path) -> None:
    async with EventStore(path) as store, EventStore(path) as other, asyncio.timeout(60):
        store.write_soon(event("a"))
        store.write_soon(event("b"))
        while targets(await other.recent()) != ["a", "b"]:
            await asyncio.sleep(0.01)


async def test_who_reads_the_store_that_wrote_misses_nothing(path: Path) -> None:
    async with EventStore(path) as store:
        store.write_soon(event("ended"))
        assert targets(await store.recent()) == ["ended"]


async def test_closing_stores_what_was_to_be_stored_soon(path: Path, power_store: EventStore) -> None:
    async with EventStore(path) as store:
        store.write_soon(event("ended"))
    async with EventStore(path) as again:
        assert targets(await again.recent()) == ["ended"]
    power_store.write_soon(event("ended"))
    await power_store.write(event("next"))
    assert targets(await power_store.recent())[-2:] == ["ended", "next"]


async def test_nothing_is_written_before_opening_or_after_closing(path: Path) -> None:
    store = EventStore(path)
    with pytest.raises(EventStoreError, match="not open"):
        await store.write(event())
    with pytest.raises(EventStoreError, match="not open"):
        store.write_soon(event())
    await store.open()
    await store.aclose()
    with pytest.raises(EventStoreError, match="not open"):
        await store.write(event())
    assert not store.healthy


async def test_closing_stores_what_is_queued(path: Path) -> None:
    store = EventStore(path)
    await store.open()
    writes = [asyncio.ensure_future(store.write(event(str(n)))) for n in range(100)]
    await asyncio.sleep(0)
    await store.aclose()
    assert not path.with_name("events.db-wal").exists(), "the last connection to close takes the log away"
    await asyncio.gather(*writes)
    async with EventStore(path) as again:
        assert len(await again.recent(1000)) == 100


async def test_a_folder_that_vanished_fails_every_write(store: EventStore, path: Path) -> None:
    await store.write(event())
    shutil.rmtree(path.parent)
    results = await asyncio.gather(*(store.write(event()) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(result, EventStoreError) for result in results)
    assert not store.healthy
    with pytest.raises(EventStoreError):
        await store.recent()


async def test_a_file_that_was_replaced_fails_every_write(store: EventStore, path: Path) -> None:
    path.rename(path.with_name("moved.db"))
    path.touch()
    async with asyncio.timeout(60):
        while store.healthy:  # a journal is durable without it; its loss is noticed when that is moved
            with contextlib.suppress(EventStoreError):
                await store.write(event())
            await asyncio.sleep(0.001)
    with pytest.raises(EventStoreError, match="gone"):
        await store.write(event())
    assert not store.healthy


async def test_a_full_store_fails_the_write_and_works_again_with_room(power_store: EventStore) -> None:
    store = power_store
    assert store._writer is not None
    connection = store._writer._connection
    await store.write(event())
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(EventStoreError, match="full"):
        await asyncio.gather(*(store.write(event("x" * 500)) for _ in range(100)))
    health = [store.healthy]
    connection.execute("PRAGMA max_page_count = 100000")
    await store.write(event("last"))
    assert [*health, store.healthy] == [False, True]
    assert (await store.recent(1))[0].target == "last"


async def test_a_transaction_that_failed_halfway_blocks_nobody(power_store: EventStore, path: Path) -> None:
    store = power_store
    other = sqlite3.connect(path, isolation_level=None)
    refuse = (
        "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN new.target = 'bad' BEGIN SELECT raise(ABORT, 'no'); END"
    )
    other.execute(refuse)
    with pytest.raises(EventStoreError):
        await asyncio.gather(store.write(event("good")), store.write(event("bad")))
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    other.close()
    await store.write(event("next"))
    assert "bad" not in targets(await store.recent())


async def test_a_full_disk_fails_the_writes_that_do_not_fit(path: Path, start_program: StartProgram) -> None:
    program = start_program(
        """
import resource
from garrison.base.errors import EventStoreError

async def attempt(store, name):
    try:
        await store.write(event(name + "x" * 500))
    except EventStoreError:
        return "refused"
    return name

async def main():
    async with EventStore(path) as store:
        await store.write(event("first"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        print(*await asyncio.gather(*(attempt(store, f"{n:03}") for n in range(500))))

asyncio.run(main())
"""
    )
    answers = (await asyncio.to_thread(program.communicate))[0].split()
    async with EventStore(path) as store:
        stored = {target[:3] for target in targets(await store.recent(1000))}
    assert len(answers) == 500
    assert "refused" in answers
    assert set(answers) - {"refused"} <= stored


async def test_a_lock_that_another_holds_too_long_fails_the_write(path: Path) -> None:
    async with EventStore(path, busy_timeout=0.05, durability="power") as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(EventStoreError, match="locked"):
            await store.write(event())
        other.execute("ROLLBACK")
        other.close()
        await store.write(event("now"))


async def test_a_store_that_cannot_be_made_is_an_error_at_opening(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "text.db").write_text("no database" * 100)
    (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere.db")
    (tmp_path / "other.db").touch()
    (tmp_path / "link_to_other.db").symlink_to(tmp_path / "other.db")
    os.mkfifo(tmp_path / "pipe.db")
    for name in ("absent/events.db", "folder.db", "text.db", "link.db", "link_to_other.db", "pipe.db"):
        with pytest.raises(EventStoreError):
            await EventStore(tmp_path / name).open()
    assert not (tmp_path / "elsewhere.db").exists()


async def test_a_file_of_another_version_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(EventStoreError, match="version 99"):
        await EventStore(path).open()


async def test_an_event_of_an_unknown_kind_is_an_error_to_read(store: EventStore, path: Path) -> None:
    await store.write(event())
    assert await store.recent()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE events SET kind = 'of.tomorrow'")
    connection.close()
    with pytest.raises(EventStoreError, match="unknown kind"):
        await store.recent()


async def test_emitted_text_cannot_forge_an_event(store: EventStore) -> None:
    forged = "x\r\n2026-01-01T00:00:00Z INFO call.allowed\x1b[2K\u2028y\0"
    await emit(store, Event(kind=Kind.INPUT_REJECTED, correlation_id=forged, target=forged, detail={forged: forged}))
    (stored,) = await store.recent()
    texts = [stored.correlation_id, stored.target, *stored.detail, *map(str, stored.detail.values())]
    assert all(text.isprintable() for text in texts)


async def test_reading_waits_for_no_writer(store: EventStore, path: Path) -> None:
    await store.write(event("seen"))
    assert await store.cursor() == 1
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(60):
        assert targets(await store.recent()) == ["seen"]
    other.close()


def test_one_store_serves_several_event_loops(path: Path) -> None:
    async def write_many(store: EventStore, name: str) -> None:
        await asyncio.gather(*(store.write(event(name)) for _ in range(200)))

    async def main() -> list[Event]:
        async with EventStore(path) as store, asyncio.timeout(30):
            other_loop = asyncio.to_thread(lambda: asyncio.run(write_many(store, "other")))
            await asyncio.gather(other_loop, write_many(store, "this"))
            return await store.recent(1000)

    assert sorted(targets(asyncio.run(main()))) == ["other"] * 200 + ["this"] * 200


@pytest.mark.parametrize("kind", [JournaledWriter, GroupCommitWriter])
async def test_a_closed_writer_takes_nothing(path: Path, kind: type[JournaledWriter | GroupCommitWriter]) -> None:
    writer = kind(path, busy_timeout=1)
    writer.close()
    for submit in (writer.submit, writer.submit_soon):
        with pytest.raises(EventStoreError, match="closed"):
            submit(event())


def test_a_process_may_end_without_closing_its_store(path: Path, start_program: StartProgram) -> None:
    program = start_program(
        """
store = EventStore(path)
async def main():
    await store.open()
    await store.write(event("x"))
asyncio.run(main())
"""
    )
    assert isinstance(program, subprocess.Popen)
    assert program.wait(30) == 0


async def test_a_write_waits_for_another_process_without_stopping_the_event_loop(path: Path) -> None:
    async with EventStore(path, busy_timeout=60, durability="power") as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(store.write(event("patient")))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not write.done()
        other.execute("ROLLBACK")
        other.close()
        await write
        assert targets(await store.recent()) == ["patient"]
