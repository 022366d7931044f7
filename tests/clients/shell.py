"""The command line as a person types it who logs in wherever a program asks them to."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from tests.clients.browser import Browser

GARRISON = str(Path(sys.executable).with_name("garrison"))


@dataclass
class Shell:
    folder: Path
    more: Mapping[str, str] = field(default_factory=dict)

    def _environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in os.environ if name.startswith("COV_CORE") or name == "PYTHONPATH"}
        own = {"GARRISON_LOGINS": str(self.folder / "logins"), "HOME": str(self.folder), "COLUMNS": "200"}
        return {**kept, **own, "PATH": "/usr/bin:/bin", **self.more}

    async def type(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """What `garrison WORDS` says; whatever address it prints is opened by a person who says yes."""
        said = ""
        with anyio.fail_after(60):
            async with await anyio.open_process([GARRISON, *words], cwd=self.folder, env=self._environ()) as process:
                assert process.stdout
                assert process.stderr
                async for part in process.stderr:
                    said += part.decode()
                    if address := re.search(r"^(http\S+)\n", said, re.MULTILINE):
                        said = said.replace(address.group(1), "ADDRESS")
                        await Browser().open(address.group(1))
                printed = b"".join([part async for part in process.stdout]).decode()
        return subprocess.CompletedProcess(words, process.returncode or 0, printed, said)
