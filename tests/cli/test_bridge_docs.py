"""docs/bridge.md: its commands do what it says, and the program says what it quotes."""

import json
import re
import shlex
from pathlib import Path

import pytest

from garrison.cli.bridge import CLIENTS
from garrison.cli.main import _parse, build_parser, main
from garrison.clients.programs import PROGRAMS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bridge.md").read_text()
COMMANDS = [shlex.split(line)[1:] for line in PAGE.splitlines() if re.match(r"\s*garrison ", line)]
QUOTED = re.findall(r"^\| `…? ?([^`]*)` \| ", PAGE.split("| it says | do |")[1].split("##")[0], re.MULTILINE)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:3]))
def test_each_command_is_one(words: list[str]) -> None:
    assert _parse(build_parser(), words).command == words[0]


def test_install_list_bundle_and_uninstall_work_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    config = tmp_path / ".config" / "Claude" / "claude_desktop_config.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"globalShortcut": ""}')
    [install] = [words for words in COMMANDS if words[:2] == ["bridge", "install"]]
    [bundle] = [words for words in COMMANDS if words[:2] == ["bridge", "bundle"]]
    [uninstall] = [words for words in COMMANDS if words[:2] == ["bridge", "uninstall"]]
    assert main(install) == 0
    assert "mcp-example-com" in json.loads(config.read_text())["mcpServers"]
    assert main(["bridge", "list"]) == 0
    assert "https://mcp.example.com/mcp" in capsys.readouterr().out
    assert main(uninstall) == 0
    assert json.loads(config.read_text()) == {"globalShortcut": "", "mcpServers": {}}
    assert main(bundle) == 0
    assert (tmp_path / "example.mcpb").is_file()
    assert main(["bridge", "uninstall", "--name", "nobody", "--json"]) == 0


def test_each_quoted_message_is_said_somewhere() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src" / "garrison").rglob("*.py"))
    assert QUOTED
    assert [said for said in QUOTED if said not in source] == []


def test_each_program_of_the_table_can_be_asked_for() -> None:
    named = re.findall(r"^\| `([a-z][a-z-]+)`", PAGE, re.MULTILINE)
    assert named == list(PROGRAMS) == list(CLIENTS)
