"""The command line, as text scripts in scripts/: what is typed, what is printed, how it ends.

# a comment
$ garrison init --home h        a command, run by sh in a folder of its own
made in h: …                    a line of its standard output; … stands for anything within the line
2> garrison: …                  a line of its standard error
...                             any further lines of standard output
? 2                             its exit code, where it isn't 0
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
BIN = Path(sys.executable).parent
ANYTHING = "…"
ANY_LINES = "..."


@dataclass
class Command:
    text: str
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    code: int = 0


def read(script: Path) -> list[Command]:
    commands: list[Command] = []
    for line in script.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("$ "):
            commands.append(Command(line[2:]))
        elif line.startswith("2> "):
            commands[-1].stderr.append(line[3:])
        elif line.startswith("? "):
            commands[-1].code = int(line[2:])
        else:
            commands[-1].stdout.append(line)
    return commands


def matches(expected: list[str], printed: str) -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line == ANY_LINES else re.escape(line).replace(re.escape(ANYTHING), r".*") + r"\n"
        for line in expected
    )
    return re.fullmatch(pattern, printed) is not None


@pytest.mark.xdist_group("command line")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_command_line_does_what_the_script_says(script: Path, tmp_path: Path, garrison_in_forks: Path) -> None:
    kept = {name: os.environ[name] for name in os.environ if name == "HOME"}
    environ = {**kept, "PATH": f"{garrison_in_forks}:{BIN}:/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "120"}
    for command in read(script):
        done = subprocess.run(
            ["sh", "-c", command.text],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        seen = f"$ {command.text}\n{done.stdout}\n2> {done.stderr}\n? {done.returncode}"
        assert done.returncode == command.code, seen
        assert matches(command.stdout, done.stdout), seen
        assert matches(command.stderr, done.stderr), seen
