"""Real parts for the tests of TLS: OpenSSL to judge, uvicorn to serve, nginx to stand in front."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.types import ASGIApp

from garrison.tls.authority import CertificatePaths, ensure

Openssl = Callable[..., subprocess.CompletedProcess[str]]
Serve = Callable[..., int]
DEADLINE = 10.0


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> CertificatePaths:
    return ensure(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def openssl() -> Openssl:
    """Runs `openssl` and returns what it said; it never waits for input."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [program, *map(str, arguments)]
        return subprocess.run(
            command, input="", capture_output=True, text=True, errors="replace", timeout=DEADLINE, check=False
        )

    return run


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """Serves an ASGI app on a free loopback port until the tests end; returns the port."""
    with contextlib.ExitStack() as stack:

        def start(app: ASGIApp, context: ssl.SSLContext | None = None) -> int:
            listener = socket.create_server(("127.0.0.1", 0))
            factory = (lambda _config, _default: context) if context else None
            config = uvicorn.Config(
                app, ssl_context_factory=factory, lifespan="off", log_config=None, timeout_graceful_shutdown=1
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            stack.callback(thread.join, DEADLINE)
            stack.callback(setattr, server, "should_exit", True)
            return int(listener.getsockname()[1])

        yield start


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def nginx_command(*arguments: str | Path) -> list[str]:
    program = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))
    assert program
    return [program, "-e", "stderr", *map(str, arguments)]


def nginx(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(nginx_command(*arguments), capture_output=True, text=True, timeout=DEADLINE, check=False)


@contextlib.contextmanager
def running_nginx(configuration: Path, port: int) -> Iterator[None]:
    """nginx in the foreground, ready when `port` takes connections. Its complaints about the file fail the test."""
    checked = nginx("-t", "-c", configuration)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    process = subprocess.Popen(nginx_command("-c", configuration, "-g", "daemon off;"))
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), DEADLINE).close()
        except ConnectionRefusedError:
            assert process.poll() is None, "nginx ended"
            assert time.monotonic() < deadline, "nginx took too long to start"
        else:
            return
