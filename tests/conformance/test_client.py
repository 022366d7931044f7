"""The official conformance suite's client scenarios, with `garrison.connect` as the client."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.foreign.town import run_program
from tests.forks import program

RUNS = (("--requirements", "2025-11-25"), ("--requirements", "2026-07-28"), ("--suite", "backcompat"))
OF_NO_CONCERN = {
    "auth/enterprise-managed-authorization",  # extensions: token exchange, DPoP and workload identity come later
    "auth/dpop",
    "auth/dpop-nonce",
    "auth/wif-jwt-bearer",
}


@pytest.fixture(scope="module")
def client() -> Iterator[str]:
    """The command that starts the client, which the suite starts sixty times, and nearly all at once."""
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    with (
        tempfile.TemporaryDirectory(prefix="garrison-") as folder,
        program("tests.conformance.client", folder=folder, environ=unmeasured) as script,
    ):
        yield str(script)


@pytest.mark.needs("conformance")
@pytest.mark.timeout(700)
@pytest.mark.xdist_group("conformance")
@pytest.mark.parametrize("which", RUNS, ids=lambda which: which[1])
async def test_every_required_client_scenario_passes(tmp_path: Path, client: str, which: tuple[str, str]) -> None:
    arguments = ("client", "--command", client, *which, "--timeout", "600000", "-o", str(tmp_path / "out"))
    _, output, errors = await run_program("conformance", *arguments, home=tmp_path, seconds=650)
    ended = {name: mark for mark, name in re.findall(r"^([✓✗]) (\S+):", output + errors, re.MULTILINE)}
    assert ended, output + errors
    assert {name for name, mark in ended.items() if mark == "✗"} <= OF_NO_CONCERN
    if which[0] == "--requirements":
        assert ended["auth/client-credentials-jwt"] == ended["auth/client-credentials-basic"] == "✓"
