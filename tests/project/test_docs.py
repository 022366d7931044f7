"""The Python that a page shows compiles, and runs."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastmcp import FastMCP

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
