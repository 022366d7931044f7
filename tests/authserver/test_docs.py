"""The commands of docs/authorization-server.md, run in its order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgresql import PostgreSQL

PAGE = Path(__file__).parents[2] / "docs" / "authorization-server.md"
EXAMPLE = "postgresql://garrison@database.example/garrison"


@pytest.mark.needs("postgresql")
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("command line")
def test_the_commands_of_the_page_do_what_it_says(
    tmp_path: Path, postgresql: PostgreSQL, garrison_in_forks: Path
) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    script = "\n".join(blocks)
    assert EXAMPLE in script
    done = subprocess.run(
        ["sh", "-eux"],
        input=script.replace(EXAMPLE, postgresql.database()),
        cwd=tmp_path,
        env={
            "PATH": f"{garrison_in_forks}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": os.environ.get("HOME", "/"),
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    seen = done.stdout + done.stderr
    assert done.returncode == 0, seen
    assert len(re.findall(r"copied \d+ rows", done.stdout)) == 2, seen
    assert done.stdout.count("Support desk") == 2, "before the move and after it"
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
