"""The programs that start MCP servers themselves, and where each keeps the list of those it starts.

| program | file | member |
|---|---|---|
| Claude Desktop | `claude_desktop_config.json` in its folder of settings | `mcpServers` |
| Claude Code | `~/.claude.json` (all projects); `.mcp.json` in a project | `mcpServers` |
| Cursor | `~/.cursor/mcp.json`; `.cursor/mcp.json` in a project | `mcpServers` |
| VS Code | `mcp.json` in its folder of settings; `.vscode/mcp.json` in a project | `servers` |

An entry names a program and its arguments. Ours name no secret: what the bridge needs is in its state folder.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from garrison.base.errors import GarrisonError, UsageError
from garrison.base.files import write_private
from garrison.clients import json_edit

BACKUPS = 5
"""How many older versions of a file are kept beside it."""
_MODULE = "garrison.cli.main"


@dataclass(frozen=True)
class Program:
    """One of them.

    Attributes:
        title: its name for people.
        member: of the file, where the servers are.
        typed: whether an entry says that it is of type stdio.
        places: the file by platform (`sys.platform`), after the home folder, the folder of settings on Linux, or
            %APPDATA%; "" for all others.
    """

    title: str
    member: str
    typed: bool
    places: Mapping[str, str]

    def file(self, platform: str, home: Path, environ: Mapping[str, str]) -> Path:
        """Where its list is on this machine."""
        place = self.places.get(platform, self.places[""])
        if place.startswith("%APPDATA%/"):
            return Path(environ.get("APPDATA") or home / "AppData" / "Roaming") / place.removeprefix("%APPDATA%/")
        if place.startswith(".config/") and environ.get("XDG_CONFIG_HOME"):
            return Path(environ["XDG_CONFIG_HOME"]) / place.removeprefix(".config/")
        return home / place

    def entry(self, command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
        """How it is told to start `command`, whose first word is an absolute path."""
        start: dict[str, Any] = {"command": command[0], "args": command[1:]}
        return {
            **({"type": "stdio"} if self.typed else {}),
            **start,
            **({"env": dict(environment)} if environment else {}),
        }


_LINUX, _MAC, _WINDOWS = ".config", "Library/Application Support", "%APPDATA%"
PROGRAMS: Mapping[str, Program] = {
    "claude-desktop": Program(
        "Claude Desktop",
        "mcpServers",
        typed=False,
        places={
            "": f"{_LINUX}/Claude/claude_desktop_config.json",
            "darwin": f"{_MAC}/Claude/claude_desktop_config.json",
            "win32": f"{_WINDOWS}/Claude/claude_desktop_config.json",
        },
    ),
    "claude-code": Program("Claude Code", "mcpServers", typed=True, places={"": ".claude.json"}),
    "cursor": Program("Cursor", "mcpServers", typed=False, places={"": ".cursor/mcp.json"}),
    "vscode": Program(
        "VS Code",
        "servers",
        typed=True,
        places={
            "": f"{_LINUX}/Code/User/mcp.json",
            "darwin": f"{_MAC}/Code/User/mcp.json",
            "win32": f"{_WINDOWS}/Code/User/mcp.json",
        },
    ),
}


@dataclass(frozen=True)
class Installed:
    """A bridge that a program starts."""

    name: str
    url: str
    command: str


class ServerList:
    """The list of one program.

    Args:
        program: whose.
        file: where.
    """

    def __init__(self, program: Program, file: Path) -> None:
        self._program = program
        self.file = file.resolve()  # a link to somewhere else stays one

    def installed(self) -> list[Installed]:
        """The bridges in it. Raises `GarrisonError` if it can't be read."""
        entries = self._entries(self._read())
        return [Installed(name, _url(entry), entry["command"]) for name, entry in entries.items() if is_ours(entry)]

    def install(self, name: str, entry: Mapping[str, Any]) -> Path | None:
        """Have the program start `entry`; the backup of what was there before, None if nothing had to change.

        Raises:
            UsageError: the name is taken by something else, or the file is not what it should be.
            GarrisonError: it can't be read or written.
        """
        if not self.file.parent.is_dir():
            raise UsageError(
                f"{self._program.title} keeps its servers in {self.file}, and that folder is not there",
                "Start it once, or name the file with --file.",
            )
        text = self._read()
        there = self._entries(text).get(name)
        if there is not None and not is_ours(there):
            raise UsageError(f"{self.file} has another server called {name!r}", "Choose another name: --name NAME.")
        if there == entry:
            return None
        return self._replace(text, self._edited(json_edit.put, text, name, dict(entry)))

    def uninstall(self, name: str) -> Path | None:
        """Take the bridge `name` out; the backup, None if there is none of that name. Raises as `install`."""
        text = self._read()
        there = self._entries(text).get(name)
        if there is None:
            return None
        if not is_ours(there):
            raise UsageError(f"{name!r} in {self.file} is no bridge of Garrison's", "See: garrison bridge list")
        return self._replace(text, self._edited(json_edit.remove, text, name))

    def _entries(self, text: str) -> dict[str, Any]:
        try:
            entries = json_edit.read(text).get(self._program.member, {})
        except UsageError as error:
            raise self._unfit(error) from error
        if not isinstance(entries, dict):
            raise self._unfit(UsageError(f"its {self._program.member!r} is not an object"))
        return entries

    def _edited(self, edit: Any, text: str, name: str, *value: Any) -> str:
        """`text` after `edit`, which has changed that one entry and nothing else."""
        try:
            new: str = edit(text, (self._program.member, name), *value)
            before, after = json_edit.read(text), json_edit.read(new)
        except UsageError as error:
            raise self._unfit(error) from error
        for said in (before, after):
            said.setdefault(self._program.member, {}).pop(name, None)
        if before != after:
            raise self._unfit(UsageError("it is written in a way that can't be edited safely"))
        return new

    def _unfit(self, error: UsageError) -> UsageError:
        return UsageError(f"{self.file} is left alone: {error.message}", "Put it right, or edit it yourself.")

    def _read(self) -> str:
        try:
            return self.file.read_bytes().decode()
        except FileNotFoundError:
            return ""
        except ValueError as error:
            raise self._unfit(UsageError("it is not text in UTF-8")) from error
        except OSError as error:
            raise GarrisonError(f"{self.file} can't be read: {error.strerror}") from error

    def _replace(self, old: str, new: str) -> Path | None:
        """Put `new` in the place of `old` in one step, with the mode that it had, and `old` beside it."""
        if self._read() != old:
            raise GarrisonError(f"{self.file} changed meanwhile", "Close the program, and try again.")
        if not self.file.exists():
            write_private(self.file, new.encode())
            return self.file
        mode = self.file.stat().st_mode & 0o777
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        backup = self.file.with_name(f"{self.file.name}.garrison-{stamp}-{time.time_ns() % 10**9:09}")
        write_private(backup, old.encode())  # 0600: other servers' entries may hold secrets
        write_private(self.file, new.encode())
        self.file.chmod(mode)
        for older in sorted(self.file.parent.glob(f"{self.file.name}.garrison-*"))[:-BACKUPS]:
            older.unlink()
        return backup


def is_ours(entry: Any) -> bool:
    """Whether a program's entry starts a bridge of Garrison's."""
    if not isinstance(entry, dict) or not isinstance(entry.get("args"), list) or "bridge" not in entry["args"]:
        return False
    command = entry.get("command")
    return isinstance(command, str) and (PurePath(command).stem == "garrison" or _MODULE in entry["args"])


def _url(entry: Mapping[str, Any]) -> str:
    args = entry["args"]
    after = args[args.index("bridge") + 1 :]
    return str(after[0]) if after else ""
