"""The import contracts hold, and each is seen to break on a violation planted in a copy of the source."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

VIOLATIONS = {
    "The rows": ("base/clock.py", "import garrison.oauth.pkce"),
    "The guard's stages": ("guard/limit.py", "import garrison.guard.origin"),
    "Grants never": ("authserver/grants/refresh_token.py", "import garrison.authserver.grants.client_credentials"),
    "Adapters never": ("clients/adapters/openai.py", "import garrison.clients.adapters.anthropic"),
    "oauth/ is free of I/O": ("oauth/pkce.py", "import socket"),
    "HTTP clients": ("limits/limiter.py", "import httpx2"),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1"}
    return subprocess.run(
        [LINT, "--no-cache"], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_contracts_hold(copy: Path) -> None:
    outcome = lint(copy)
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_planted_violation_breaks_the_contract(contract: str, copy: Path) -> None:
    place, statement = VIOLATIONS[contract]
    file = copy / "src" / "garrison" / place
    file.write_text(f"{file.read_text()}\n{statement}\n")
    outcome = lint(copy)
    broken = [line for line in outcome.stdout.splitlines() if "BROKEN" in line]
    assert outcome.returncode == 1
    assert any(line.startswith(contract) for line in broken), outcome.stdout


def test_a_new_room_must_be_given_its_row(copy: Path) -> None:
    (copy / "src" / "garrison" / "attic").mkdir()
    (copy / "src" / "garrison" / "attic" / "__init__.py").write_text('"""A room that no contract knows."""\n')
    assert lint(copy).returncode == 1
