"""Private files: whole or not at all, and readable by their owner alone."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from garrison.base.errors import GarrisonError, UsageError
from garrison.base.files import locked, make_private_folder, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_private_file_is_for_its_owner_alone_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"secret")
    assert mode(tmp_path / "key") == 0o600
    assert (tmp_path / "key").read_bytes() == b"secret"


def test_a_private_file_is_never_open_to_others_not_even_while_it_is_written(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    sync = os.fsync

    def spy(descriptor: int) -> None:
        seen.extend(map(mode, tmp_path.iterdir()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    write_private(tmp_path / "key", b"secret")
    assert set(seen) == {0o600}


def test_replacing_an_open_file_closes_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"old")
    (tmp_path / "key").chmod(0o666)
    write_private(tmp_path / "key", b"new")
    assert mode(tmp_path / "key") == 0o600


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    write_private(tmp_path / "key", b"ours")
    assert not (tmp_path / "key").is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, contents = tmp_path / "key", [bytes([n]) * 100_000 for n in range(20)]
    write_private(path, contents[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for content in contents:
        write_private(path, content)
    done.set()
    reader.join()
    assert seen <= set(contents)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"old")
    with pytest.raises(TypeError):
        write_private(tmp_path / "key", "text")  # type: ignore[arg-type]  # a failure in the middle of writing
    assert (tmp_path / "key").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]


def test_a_failed_replacement_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(IsADirectoryError):
        write_private(tmp_path / "key", b"secret")
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]


def test_file_and_name_are_durable_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[bool, bool]] = []
    sync = os.fsync

    def spy(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "key").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    write_private(tmp_path / "key", b"secret")
    assert synced == [(False, False), (True, True)]  # the bytes before the name, the folder after it


def test_a_private_folder_is_for_its_owner_alone_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_a_private_folder_is_never_open_to_others_not_even_while_it_is_made(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(Path, "chmod", lambda folder, _: seen.append(mode(folder)))
    make_private_folder(tmp_path / "a")
    assert seen == [0o700]


def test_a_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(GarrisonError, match="File exists"):
        make_private_folder(tmp_path / "a")


def test_a_folder_that_others_use_is_not_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "somebody's").touch()
    with pytest.raises(UsageError, match="open to others"):
        make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_who_holds_a_lock_is_alone(tmp_path: Path) -> None:
    second_is_in = threading.Event()

    def second() -> None:
        with locked(tmp_path / "lock"):
            second_is_in.set()

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock"):
        thread.start()
        assert not second_is_in.wait(0.1)
    thread.join()
    assert second_is_in.is_set()
