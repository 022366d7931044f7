"""The repository keeps its own rules: no address of an index, no path of a machine, pinned and hashed dependencies."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INDEX = re.compile(r"https?://[^\s\"']*(/simple/|\.whl|\.tar\.gz)|--(extra-)?index-url|--find-links")


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", ["all.txt", "server.txt", "uv.txt"])
def test_every_dependency_is_pinned_and_hashed_and_no_file_names_an_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert not INDEX.search(text)
    requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert requirements
    for line in requirements:
        assert re.match(r"[a-z0-9._\[\],-]+==\S+( ;.*)? \\$", line), line


def test_every_environment_variable_of_the_example_is_read_somewhere() -> None:
    sources = "".join(path.read_text() for path in [*tracked("src/*.py"), *tracked("compose.yaml", "Taskfile.yml")])
    names = re.findall(r"^#? ?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert names
    assert [name for name in names if name not in sources and name != "SSL_CERT_FILE"] == []
