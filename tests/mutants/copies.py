"""A copy of the source tree in which checks are taken away, and the tests that run there."""

import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.mutants.table import ROOT, Mutant

SECONDS = 600.0
"""For the tests of one mutant; they take a few, but the machine may have other work."""
COPIED = ("src", "tests", "examples", "docs", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("node_modules", ".hypothesis", "artefacts")
PLUGINS = ("anyio.pytest_plugin", "pytest_timeout", "_hypothesis_pytestplugin")
HEAVY: tuple[str, ...] = ("hypothesis", "alembic.command", "sqlalchemy.dialects.sqlite.aiosqlite", "mcp.client.auth")
HEAVY += ("joserfc.jwk", "joserfc.jws", "httpx2", "httpcore2", "h2.connection", "truststore", "starlette.applications")
HEAVY += ("starlette.middleware.cors", "argon2", "jinja2", "pydantic", *PLUGINS)
"""What tests import and no mutant is in: loaded once, for every run is a fork."""
OPTIONS: tuple[str, ...] = ("-x", "-q", "-p", "no:cacheprovider")
OPTIONS += tuple(f"-p{plugin}" for plugin in PLUGINS)  # and no other: some take longer to load than the tests
OPTIONS += ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # what is loaded before pytest begins is not rewritten
_ENGINES = {"sqlite": "not postgresql", "postgresql": "postgresql"}
_ENDS = {0: "passed", 1: "failed"}


class Copy:
    """Args: folder: an empty one; source: the tree to copy, which is read and never written."""

    def __init__(self, folder: Path, source: Path = ROOT) -> None:
        self.folder = folder
        for name in COPIED:
            if (source / name).is_dir():
                shutil.copytree(source / name, folder / name, ignore=LEFT_OUT)
            else:
                shutil.copy2(source / name, folder / name)
        for name in HEAVY:
            importlib.import_module(name)
        gc.freeze()  # else each fork would look through all of this

    def compile(self) -> None:
        """Once, for copies of this one too; a mutant's own compiled form is never written, lest it is taken for the
        source's.
        """
        subprocess.run([sys.executable, "-m", "compileall", "-q", "src"], cwd=self.folder, check=True)
        self.test(["tests/authserver", "--collect-only"], compiling=True)

    def test_mutated(self, mutant: Mutant) -> tuple[str, str]:
        """How `mutant`'s tests end, as `test` says; the source is afterwards as it was.

        Raises:
            DoesNotApply: it is not one of this source.
        """
        path = self.folder / mutant.file
        source, times = path.read_bytes(), path.stat()
        path.write_text(mutant.applied(self.folder))
        try:
            outcome, output = self.test(mutant.tests, mutant.engine)
            return (
                (outcome, output) if outcome != "broken" else self.test(mutant.tests, mutant.engine)
            )  # a process that died may not again
        finally:
            path.write_bytes(source)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def test(self, tests: Sequence[str], engine: str = "sqlite", *, compiling: bool = False) -> tuple[str, str]:
        """`passed`, `failed`, `broken` (they could not run) or `timeout`; and what pytest printed."""
        output = self.folder / "output.txt"
        child = os.fork()
        if not child:
            self._run(["-k", _ENGINES[engine], *tests], output, compiling=compiling)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return _ENDS.get(code, "broken"), f"{output.read_text()}\nexit status {code}"
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "timeout", output.read_text()

    def _run(self, arguments: Sequence[str], output: Path, *, compiling: bool) -> None:
        """In the forked process, which ends here."""
        code = 70
        try:
            os.setpgid(0, 0)
            with output.open("w") as file:
                for standard in (1, 2):
                    os.dup2(file.fileno(), standard)
            os.chdir(self.folder)
            source = str(self.folder / "src")
            os.environ |= {"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            sys.dont_write_bytecode = not compiling
            ours = {ROOT, ROOT / "src"}
            sys.path[:] = [source, str(self.folder), *(path for path in sys.path if Path(path).resolve() not in ours)]
            for name in [name for name in sys.modules if name.partition(".")[0] in {"tests", "garrison"}]:
                del sys.modules[name]
            code = int(pytest.main([*OPTIONS, "--rootdir", str(self.folder), *arguments]))
        finally:
            sys.stdout.flush()
            os._exit(code)
