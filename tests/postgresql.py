"""A PostgreSQL cluster of the tests' own, on a Unix socket, thrown away with them; it never runs as root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.conftest import SEARCH_PATH

USER = "garrison"
_WITHOUT_DURABILITY = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
"""What a power cut would break here, nobody misses. The second is what the store must not put up with."""


def run(program: str, *arguments: str | Path, cwd: Path) -> bytes:
    """One of PostgreSQL's programs, as the user that it may run as; to a file, for a server keeps a pipe open."""
    path = shutil.which(program, path=SEARCH_PATH)
    assert path, f"{program} is not installed"
    user = "postgres" if os.getuid() == 0 else None
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            [path, *arguments],
            cwd=cwd,
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        output.seek(0)
        printed = output.read()
    assert done.returncode == 0, printed.decode()
    return printed


def dump(url: str) -> bytes:
    """Everything that is in the database."""
    return run("pg_dump", url, cwd=Path("/"))


class PostgreSQL:
    """`stop` and `start` make an outage; `database` empties its one database and returns its URL."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._run("initdb", "--pgdata", self._data, "--username", USER, "--auth", "trust", "--no-sync")
        settings = f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nmax_connections = 200\n"
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(settings + _WITHOUT_DURABILITY)
        self.start()

    def start(self) -> None:
        log = self._folder / "log"
        self._run("pg_ctl", "start", "--wait", "--timeout=60", "--pgdata", self._data, "--log", log)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--wait", "--timeout=60", "--mode=immediate", "--pgdata", self._data)

    def database(self) -> str:
        url = f"postgresql://{USER}@/postgres?host={quote(str(self._folder), safe='')}"
        empty = ("psql", url, "--quiet", "--command=DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        try:
            self._run(*empty)
        except AssertionError:  # a test of an outage was broken off in the middle: the next ones shall not suffer
            self.start()
            self._run(*empty)
        return url

    def _run(self, program: str, *arguments: str | Path) -> None:
        run(program, *arguments, cwd=self._folder)


@contextmanager
def running() -> Iterator[PostgreSQL]:
    """Not in pytest's folder: that is closed to the user whom the server runs as, and too long for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="garrison-pg-"))
    if os.getuid() == 0:
        os.chown(folder, *pwd.getpwnam("postgres")[2:4])
    try:
        cluster = PostgreSQL(folder)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder)
