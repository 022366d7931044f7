"""`garrison demo` and `garrison up` as a person runs them: real processes, real ports, real signals."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from garrison.demo.walk import STEPS
from garrison.serving import free_port
from garrison.tls.context import client_context

GARRISON = str(Path(sys.executable).with_name("garrison"))
STARTED = 60


def environ(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name.startswith("COV")}
    return {**kept, "PATH": "/usr/bin:/bin", "TMPDIR": str(folder), "HOME": str(folder), "COLUMNS": "200"}


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [GARRISON, *arguments],
        cwd=folder,
        env=environ(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=STARTED)


@pytest.fixture
def background() -> Iterator[None]:
    """What is started is started as a shell starts its background jobs: deaf to SIGINT, unless it listens itself."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ports() -> tuple[str, str]:
    first = free_port("localhost", 0)
    second = free_port("localhost", 0)
    while second == first:
        second = free_port("localhost", 0)
    return str(first), str(second)


LISTENER = """
import sys

def listen(event, arguments):
    if event == "socket.getaddrinfo" and arguments[0] not in ("localhost", "127.0.0.1", "::1", None):
        with open({file!r}, "a") as file:
            print(arguments[0], file=file)

sys.addaudithook(listen)
"""


@pytest.mark.timeout(300)
def test_the_demo_passes_every_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Nor does it ask for anybody's address, though all model libraries are imported and used."""
    listener, asked = tmp_path / "listener", tmp_path / "asked"
    listener.mkdir()
    (listener / "sitecustomize.py").write_text(LISTENER.format(file=str(asked)))
    done = subprocess.run(
        [sys.executable, GARRISON, "demo", "--json"],
        cwd=tmp_path,
        env={**environ(tmp_path), "PYTHONPATH": str(listener)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    report = json.loads(done.stdout)
    assert [step["step"] for step in report["steps"] if not step["passed"]] == [], report
    assert (done.returncode, report["passed"], len(report["steps"])) == (0, True, len(STEPS) + 1)
    assert list(tmp_path.glob("garrison-demo-*")) == []
    assert "Error" not in done.stderr
    assert not asked.exists(), asked.read_text()


def test_up_says_ready_when_both_servers_answer_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    """And answers the README's first command, which names no state folder."""
    auth_port, mcp_port = ports()
    with started(tmp_path, "up", "--auth-port", auth_port, "--mcp-port", mcp_port) as process:
        ready, issuer, resource = first_line(process).split()
        assert (ready, issuer, resource) == (
            "ready",
            f"https://localhost:{auth_port}",
            f"https://localhost:{mcp_port}/mcp",
        )
        with httpx2.Client(verify=client_context(tmp_path / ".garrison" / "ca.pem"), trust_env=False) as http:
            found = http.get(f"{issuer}/.well-known/oauth-authorization-server")
            assert found.json()["issuer"] == issuer
            assert http.get(resource).status_code == 401
        tools = subprocess.run(
            [GARRISON, "tools", resource],
            cwd=tmp_path,
            env=environ(tmp_path),
            capture_output=True,
            text=True,
            timeout=STARTED,
            check=False,
        )
        assert "get_customer_info" in tools.stdout, tools.stderr
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=STARTED)
        assert (process.returncode, output) == (0, "")
        assert "Traceback" not in errors
    assert list((tmp_path / ".garrison").glob(".*.tmp")) == []


@pytest.mark.no_cover
def test_a_second_up_says_in_one_line_which_port_is_taken(tmp_path: Path) -> None:
    auth_port, mcp_port = ports()
    arguments = ("up", "--http", "--home", "h", "--auth-port", auth_port, "--mcp-port", mcp_port)
    with started(tmp_path, *arguments) as first:
        assert first_line(first) == f"ready http://localhost:{auth_port} http://localhost:{mcp_port}/mcp"
        with started(tmp_path, *arguments) as second:
            _, errors = second.communicate(timeout=STARTED)
            assert second.returncode == 1
            assert f"garrison: port {auth_port} for the authorization server is taken\n" in errors
        first.send_signal(signal.SIGTERM)
        assert first.wait(STARTED) == 0


def test_plain_http_says_so_and_a_token_a_tool_list_and_a_call_work_over_it(tmp_path: Path) -> None:
    auth_port, mcp_port = ports()
    issuer, resource = f"http://localhost:{auth_port}", f"http://localhost:{mcp_port}/mcp"

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [GARRISON, *arguments, "--home", "h"],
            cwd=tmp_path,
            env=environ(tmp_path),
            capture_output=True,
            text=True,
            timeout=STARTED,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    scope = "customer:read"
    grants = ("--grant", "client_credentials", "--resource", resource)
    made = json.loads(run("auth", "client", "add", "robot", *grants, "--scope", scope, "--json"))
    (tmp_path / "secret").write_text(made["client_secret"] + "\n")
    client = ("--client-id", made["client_id"], "--client-secret-file", "secret")
    up = ("up", "--http", "--home", "h", "--auth-port", auth_port, "--mcp-port", mcp_port)
    with started(tmp_path, *up) as process:
        assert first_line(process) == f"ready {issuer} {resource}"
        token = run("token", *client, "--scope", scope, "--resource", resource)
        assert len(token.split(".")) == 3
        assert token == token.strip() + "\n"
        assert "get_customer_info" in run("tools", resource, *client)
        assert "get_customer_info" in run("tools", f"{resource}/", *client)
        called = run("call", resource, "get_customer_info", *client, "customer_id=ABC123", "--json")
        assert json.loads(called)["structuredContent"]["customer_id"] == "ABC123"
        assert "call.allowed" in run("events", "list")
        assert made["client_secret"] not in run("events", "list", "--json")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=STARTED)
        assert "plain HTTP: on loopback only" in errors


@pytest.mark.no_cover
@pytest.mark.parametrize("trailing", ["", "/"])
def test_the_demo_server_alone_needs_tls_or_loopback(tmp_path: Path, trailing: str) -> None:
    resource = f"https://mcp.example/mcp{trailing}"
    arguments = ("demo", "serve", "--home", "h", "--host", "0.0.0.0", "--http", "--issuer", "https://as.example")
    with started(tmp_path, *arguments, "--resource", resource) as process:
        _, errors = process.communicate(timeout=STARTED)
    assert process.returncode == 2
    assert "plain HTTP is served on loopback only, not on 0.0.0.0" in errors


@pytest.mark.no_cover
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_demo_that_is_ended_leaves_no_keys_behind(tmp_path: Path, ending: signal.Signals, background: None) -> None:
    with started(tmp_path, "demo") as process:
        assert "init" in first_line(process)
        process.send_signal(ending)
        process.communicate(timeout=STARTED)
        assert process.returncode != 0
    assert list(tmp_path.glob("garrison-demo-*")) == []
