"""The lists of other programs' servers: where they are, and that a bridge comes and goes alone."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from garrison.base.errors import GarrisonError, UsageError
from garrison.clients import json_edit
from garrison.clients.programs import BACKUPS, PROGRAMS, ServerList

DESKTOP, CODE = PROGRAMS["claude-desktop"], PROGRAMS["vscode"]
COMMAND = ["/opt/bin/garrison", "bridge", "https://mcp.example/mcp"]
ENTRY = DESKTOP.entry(COMMAND, {})


@pytest.mark.parametrize(
    ("name", "platform", "environ", "file"),
    [
        ("claude-desktop", "darwin", {}, "/h/Library/Application Support/Claude/claude_desktop_config.json"),
        ("claude-desktop", "linux", {}, "/h/.config/Claude/claude_desktop_config.json"),
        ("claude-desktop", "linux", {"XDG_CONFIG_HOME": "/x"}, "/x/Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", {"APPDATA": "/a"}, "/a/Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", {}, "/h/AppData/Roaming/Claude/claude_desktop_config.json"),
        ("claude-code", "darwin", {"XDG_CONFIG_HOME": "/x"}, "/h/.claude.json"),
        ("cursor", "linux", {}, "/h/.cursor/mcp.json"),
        ("vscode", "darwin", {}, "/h/Library/Application Support/Code/User/mcp.json"),
        ("vscode", "linux", {}, "/h/.config/Code/User/mcp.json"),
        ("vscode", "win32", {"APPDATA": "/a"}, "/a/Code/User/mcp.json"),
    ],
)
def test_each_program_has_its_file(name: str, platform: str, environ: dict[str, str], file: str) -> None:
    assert PROGRAMS[name].file(platform, Path("/h"), environ) == Path(file)


def test_an_entry_is_in_the_programs_own_form() -> None:
    assert ENTRY == {"command": "/opt/bin/garrison", "args": ["bridge", "https://mcp.example/mcp"]}
    assert CODE.entry(COMMAND, {"A": "b"}) == {"type": "stdio", **ENTRY, "env": {"A": "b"}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_text('{\n  "mcpServers": {\n    "other": {"command": "x", "env": {"KEY": "secret"}}\n  }\n}\n')
    file.chmod(0o640)
    return file


def test_what_was_there_stays_byte_for_byte_and_a_private_backup_is_kept(file: Path) -> None:
    before = file.read_bytes()
    servers = ServerList(DESKTOP, file)
    backup = servers.install("far", ENTRY)
    assert backup
    assert backup.read_bytes() == before
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert json.loads(file.read_text())["mcpServers"]["far"] == ENTRY
    assert [(one.name, one.url) for one in servers.installed()] == [("far", "https://mcp.example/mcp")]
    assert servers.uninstall("far")
    assert file.read_bytes() == before


def test_what_is_so_already_is_not_written(file: Path) -> None:
    servers = ServerList(DESKTOP, file)
    servers.install("far", ENTRY)
    before = file.stat().st_mtime_ns, sorted(file.parent.iterdir())
    assert servers.install("far", ENTRY) is None
    assert servers.uninstall("nobody") is None
    assert (file.stat().st_mtime_ns, sorted(file.parent.iterdir())) == before


def test_a_bridge_of_that_name_is_replaced(file: Path) -> None:
    servers = ServerList(DESKTOP, file)
    servers.install("far", ENTRY)
    servers.install("far", DESKTOP.entry([*COMMAND[:2], "https://other.example/mcp"], {}))
    assert [one.url for one in servers.installed()] == ["https://other.example/mcp"]


def test_a_few_backups_are_kept(file: Path) -> None:
    servers = ServerList(DESKTOP, file)
    for number in range(BACKUPS + 3):
        servers.install("far", DESKTOP.entry([*COMMAND, str(number)], {}))
    assert len(list(file.parent.iterdir())) == BACKUPS + 1


def test_another_programs_server_is_neither_replaced_nor_removed(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(UsageError, match="another server called 'other'"):
        ServerList(DESKTOP, file).install("other", ENTRY)
    with pytest.raises(UsageError, match="no bridge of Garrison's"):
        ServerList(DESKTOP, file).uninstall("other")
    assert file.read_bytes() == before


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    ServerList(DESKTOP, link).install("far", ENTRY)
    assert link.is_symlink()
    assert "far" in file.read_text()


def test_a_file_is_made_where_the_program_is_and_nowhere_else(tmp_path: Path) -> None:
    ServerList(DESKTOP, tmp_path / "new.json").install("far", ENTRY)
    assert json.loads((tmp_path / "new.json").read_text()) == {"mcpServers": {"far": ENTRY}}
    with pytest.raises(UsageError, match="that folder is not there"):
        ServerList(DESKTOP, tmp_path / "none" / "new.json").install("far", ENTRY)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"mcpServers": []}', b"\xff{}", b'{"mcpServers": {}, "mcpServers": {}}']
)
def test_what_can_not_be_edited_safely_is_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="is left alone"):
        ServerList(DESKTOP, file).install("far", ENTRY)
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


def test_an_edit_that_would_change_anything_else_is_not_made(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()
    monkeypatch.setattr("garrison.clients.json_edit.put", lambda *_: '{"mcpServers": {"far": 1}}')
    with pytest.raises(UsageError, match="can't be edited safely"):
        ServerList(DESKTOP, file).install("far", ENTRY)
    assert file.read_bytes() == before


def test_a_file_that_changes_meanwhile_is_not_overwritten(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put: Any = json_edit.put

    def slow(*args: Any) -> str:
        file.write_text('{"mcpServers": {}, "new": true}')
        return str(put(*args))

    monkeypatch.setattr("garrison.clients.json_edit.put", slow)
    with pytest.raises(GarrisonError, match="changed meanwhile"):
        ServerList(DESKTOP, file).install("far", ENTRY)
    assert json.loads(file.read_text()) == {"mcpServers": {}, "new": True}


def test_comments_stay_in_a_file_that_may_have_them(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{\n\t// my servers\n\t"servers": {\n\t},\n\t"inputs": []\n}\n')
    ServerList(CODE, file).install("far", CODE.entry(COMMAND, {}))
    assert "// my servers" in file.read_text()
    assert [one.name for one in ServerList(CODE, file).installed()] == ["far"]
