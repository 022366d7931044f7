"""The log of a program that others start: one line a message, private, and of bounded size."""

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from garrison.base.errors import UsageError
from garrison.cli import _log
from garrison.cli._bridge_state import can_keep, name_of, prepare
from garrison.cli._log import KEPT, PrivateFile, start_log


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("garrison")
    handlers, level, own_level = root.handlers[:], root.level, ours.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(own_level)


def test_a_message_is_one_line_and_an_exception_its_name_alone(tmp_path: Path) -> None:
    start_log(tmp_path / "log", None)
    try:
        int("the secret value")
    except ValueError:
        logging.getLogger("garrison.bridge").exception("it failed\n2026 INFO forged\x1b[2J")
    logging.getLogger("somebody").info("their chatter")
    [line] = (tmp_path / "log").read_text().splitlines()
    assert line.endswith("(ValueError)")
    assert "secret" not in line
    assert "\x1b" not in line


@pytest.mark.parametrize("level", ["LOUD", "7"])
def test_a_level_that_is_none_is_refused(level: str) -> None:
    with pytest.raises(UsageError, match="LOG_LEVEL"):
        start_log(None, level)


def test_two_writers_keep_to_the_bound_and_to_private_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log, "MAX_BYTES", 1000)
    first, second = PrivateFile(tmp_path / "log"), PrivateFile(tmp_path / "log")
    for number in range(100):
        record = logging.makeLogRecord({"msg": f"message {number:03} {'x' * 40}"})
        (first, second)[number % 2].emit(record)
    first.close()
    second.close()
    files = sorted(tmp_path.glob("log*"))
    kept = [file for file in files if not file.name.endswith(".lock")]
    assert len(kept) == 1 + KEPT
    assert sum(file.stat().st_size for file in kept) < 1000 * (1 + KEPT) + 200
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert "message 099" in (tmp_path / "log").read_text()


def test_a_state_folder_that_can_not_be_used_costs_the_log_and_not_the_bridge(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert prepare(tmp_path / "file", "https://mcp.example/mcp", None) is None
    assert "no log is kept. Say --home." in capfd.readouterr().err


def test_a_folder_of_logins_that_can_not_be_used_is_said_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    start_log(None, None)
    assert not can_keep(tmp_path / "file" / "logins")
    assert "no login is kept. Set GARRISON_LOGINS." in capfd.readouterr().err
    assert can_keep(tmp_path / "new" / "logins")
    assert stat.S_IMODE((tmp_path / "new" / "logins").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("url", "name"),
    [("https://MCP.example.com/mcp", "mcp-example-com"), ("http://[::1]:8000/", "1-8000"), ("https:///", "server")],
)
def test_a_server_is_called_by_its_host(url: str, name: str) -> None:
    assert name_of(url) == name
