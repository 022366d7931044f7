"""What all tests share. Async tests run on asyncio, by anyio's plugin."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile(
    "busy machine", deadline=None
)  # how long an example takes says nothing when tests share cores
settings.load_profile("busy machine")

PROGRAMS = {
    "nginx": "nginx",
    "redis": "redis-server",
    "postgresql": "initdb",
    "openssl": "openssl",
    "chromium": "chromium",
}
# Debian keeps the programs of each version of PostgreSQL in a folder of its own.
SEARCH_PATH = os.pathsep.join(
    (os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin")))
)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `needs("nginx")` runs the real program; without it the test is skipped, or fails where CI=true."""
    needed = [name for marker in item.iter_markers("needs") for name in marker.args]
    missing = [PROGRAMS[name] for name in needed if not shutil.which(PROGRAMS[name], path=SEARCH_PATH)]
    if missing:
        message = f"needs {', '.join(missing)}: as root on Debian, apt-get install {' '.join(missing)}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
