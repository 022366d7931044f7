"""The Python that a page shows compiles, and runs; the files that it names are there."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastmcp import FastMCP

ROOT = Path(__file__).parents[2]
PLACES = ("", "src/garrison", "src/garrison/authserver")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w/]+/\w+\.(?:py|lua))[`:]")
PAGES = ["guard.md", "guard-issuers.md"]
CASES = [
    pytest.param(block, id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall((ROOT / "docs" / page).read_text()), 1)
]


def test_every_page_has_python_to_run() -> None:
    assert len(CASES) >= len(PAGES)


@pytest.mark.parametrize("block", CASES)
def test_the_python_of_a_page_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the server that the page wraps given, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTROSPECTION_SECRET", "a secret")
    names: dict[str, Any] = {"mcp": FastMCP("docs")}
    exec(compile(block, "page", "exec"), names)  # noqa: S102 - our own pages


@pytest.mark.parametrize("page", ["architecture.md", "performance.md"])
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    named = set(NAMED.findall((ROOT / "docs" / page).read_text()))
    assert named
    assert [file for file in sorted(named) if not any((ROOT / place / file).exists() for place in PLACES)] == []
