"""Event stores in a folder of their own, and programs that use the same file from another process."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from garrison.monitor.store import EventStore

PRELUDE = """
import asyncio, sys
from pathlib import Path
from garrison.base.events import Event, Kind, emit
from garrison.monitor.store import EventStore
path = Path(sys.argv[1])
def event(name): return Event(kind=Kind.CALL_ALLOWED, correlation_id="c", target=name)
"""

StartProgram = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture(params=["process", "power"])
async def store(path: Path, request: pytest.FixtureRequest) -> AsyncIterator[EventStore]:
    async with EventStore(path, busy_timeout=5, durability=request.param) as opened:
        yield opened


@pytest.fixture
async def power_store(path: Path) -> AsyncIterator[EventStore]:
    async with EventStore(path, busy_timeout=5, durability="power") as opened:
        yield opened


@pytest.fixture
def start_program(path: Path) -> Iterator[StartProgram]:
    """Starts Python code in a process of its own, after `PRELUDE`, with the store's path and more as arguments."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PRELUDE + code, str(path), *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
