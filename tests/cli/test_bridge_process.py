"""The bridge as the program that others start: its pipes, its log, its one login, and foreign clients at its end."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import fastmcp
import pytest
from fastmcp.client.transports import StdioTransport
from mcp import Client, MCPError, StdioServerParameters

from garrison.base.files import make_private_folder, write_private
from tests.clients.conftest import stages, world
from tests.clients.world import World

__all__ = ["stages", "world"]

NOISY = """
import os, sys
from garrison.cli import _bridge_state
from garrison.cli.main import main
prepare = _bridge_state.prepare
def noisy(*arguments):
    print("noise of a library")
    os.write(1, b"noise of C\\n")
    os.system("echo noise of a child")
    return prepare(*arguments)
_bridge_state.prepare = noisy
sys.exit(main(sys.argv[1:]))
"""
BROWSER = f"""#!{sys.executable}
import sys, urllib.request
urllib.request.urlopen(sys.argv[1]).read()
"""
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    },
}


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in os.environ if name.startswith("COV") or name == "PYTHONPATH"}
    return {**kept, "PATH": os.environ["PATH"], "HOME": str(tmp_path), "GARRISON_KEYRING": "off", **more}


def words(world: World, tmp_path: Path) -> list[str]:
    secret = tmp_path / "secret"
    secret.write_text(world.client["client_secret"])
    more = ["--client-id", world.client["client_id"], "--client-secret-file", str(secret)]
    return ["bridge", world.url, "--home", str(tmp_path / "h"), "--issuer", world.client["issuer"], *more]


async def spoken(arguments: list[str], env: dict[str, str], messages: list[dict[str, Any]]) -> tuple[list[Any], str]:
    """What the program answers on standard output, parsed line by line, and what it says on standard error."""
    answers = []
    async with await anyio.open_process([sys.executable, *arguments], env=env, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        said = b""
        with anyio.fail_after(60):
            for message in messages:
                await process.stdin.send(json.dumps(message).encode() + b"\n")
                while "id" in message and b"\n" not in said:
                    said += await process.stdout.receive()
                if "id" in message:
                    line, _, said = said.partition(b"\n")
                    answers.append(json.loads(line))
            await process.stdin.aclose()
            errors = b"".join([chunk async for chunk in process.stderr])
            rest = said + b"".join([chunk async for chunk in process.stdout])
            await process.wait()
    assert rest == b""
    assert process.returncode == 0, errors
    return answers, errors.decode()


async def test_nothing_but_mcp_is_on_standard_output_whoever_prints(world: World, tmp_path: Path) -> None:
    messages: list[dict[str, Any]] = [
        INITIALIZE,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    answers, errors = await spoken(["-c", NOISY, *words(world, tmp_path)], environment(tmp_path), messages)
    assert answers[0]["result"]["protocolVersion"] == "2025-06-18"
    assert answers[1]["result"]["tools"][0]["name"] == "get_customer_info"
    for noise in ("noise of a library", "noise of C", "noise of a child"):
        assert noise in errors


async def test_the_log_is_private_and_says_what_was_done_but_no_secret(world: World, tmp_path: Path) -> None:
    call = {"name": "get_customer_info", "arguments": {"customer_id": "ABC123"}}
    messages: list[dict[str, Any]] = [INITIALIZE, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}]
    answers, errors = await spoken(
        ["-m", "garrison.cli.main", *words(world, tmp_path)], environment(tmp_path, LOG_LEVEL="debug"), messages
    )
    assert answers[1]["result"]["structuredContent"]["name"] == "Customer ABC123"
    [log] = (tmp_path / "h" / "bridge").glob("*.log")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for text in (log.read_text(), errors):
        assert "tools/call get_customer_info" in text
        assert "ABC123" not in text
        assert world.client["client_secret"] not in text
        assert "Bearer" not in text


@pytest.mark.parametrize("client", [None, {"client_id": "c", "client_secret": "s"}], ids=["nobody", "a client"])
async def test_what_keeps_the_bridge_from_the_server_is_the_answer_to_the_first_request(
    tmp_path: Path, client: dict[str, str] | None
) -> None:
    if client:  # which needs the server for its issuer
        make_private_folder(tmp_path / "h")
        write_private(tmp_path / "h" / "client.json", json.dumps(client).encode())
    arguments = ["-m", "garrison.cli.main", "bridge", "http://127.0.0.1:9/mcp", "--home", str(tmp_path / "h")]
    answers, errors = await spoken(arguments, environment(tmp_path), [INITIALIZE])
    assert "did not answer" in answers[0]["error"]["message"]
    [log] = (tmp_path / "h" / "bridge").glob("*.log")
    assert "did not answer" in errors
    assert "did not answer" in log.read_text()


async def test_two_bridges_started_at_once_log_in_once(world: World, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(BROWSER)
    browser.chmod(0o700)
    more = ["--home", str(tmp_path / "h"), "--client-id", "desktop", "--issuer", world.client["issuer"], "--login"]
    program = StdioServerParameters(
        command=sys.executable,
        args=["-m", "garrison.cli.main", "bridge", world.url, *more],
        env=environment(tmp_path, BROWSER=f"{browser} %s"),
    )
    listed: list[int] = []

    async def use() -> None:
        async with Client(program) as local:
            listed.append(len((await local.list_tools()).tools))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            tasks.start_soon(use)
    assert listed == [3, 3]
    assert len(world.issuer.authorize_queries) == 1
    assert [form["grant_type"] for form in world.issuer.forms] == ["authorization_code"]
    assert stat.S_IMODE((tmp_path / ".local" / "state" / "garrison" / "tokens.json").stat().st_mode) == 0o600


async def test_a_login_on_the_command_line_serves_the_bridge_too(world: World, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(BROWSER)
    browser.chmod(0o700)
    env = environment(tmp_path, BROWSER=f"{browser} %s")
    home = ["--home", str(tmp_path / "h")]
    login = ["-m", "garrison.cli.main", "login", world.url, "--client-id", "desktop", *home]
    for_a_shell = f"$(touch${{IFS}}{tmp_path}/a);touch${{IFS}}{tmp_path}/b;`touch${{IFS}}{tmp_path}/c`"  # CVE-2025-6514
    world.issuer.metadata["authorization_endpoint"] = f"{world.issuer.issuer}/authorize?for={for_a_shell}"
    with anyio.fail_after(60):
        await anyio.run_process([sys.executable, *login], env=env)
    assert [query["for"] for query in world.issuer.authorize_queries] == [for_a_shell]
    assert not {"a", "b", "c"} & {path.name for path in tmp_path.iterdir()}
    bridge = ["-m", "garrison.cli.main", "bridge", world.url, *home]
    program = StdioServerParameters(command=sys.executable, args=bridge, env=environment(tmp_path))
    with anyio.fail_after(60):
        async with Client(program) as local:
            assert (await local.list_tools()).tools
    assert len(world.issuer.authorize_queries) == 1
    assert [form["grant_type"] for form in world.issuer.forms] == ["authorization_code"]


async def test_a_bridge_whose_login_has_ended_says_how_to_log_in(world: World, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(BROWSER)
    browser.chmod(0o700)
    env = environment(tmp_path, BROWSER=f"{browser} %s")
    home = ["--home", str(tmp_path / "h")]
    world.issuer.lifetime = 1  # at its end when the bridge starts
    login = ["-m", "garrison.cli.main", "login", world.url, "--client-id", "desktop", *home]
    with anyio.fail_after(60):
        await anyio.run_process([sys.executable, *login], env=env)
    world.issuer.refresh_tokens.clear()
    answers, _ = await spoken(["-m", "garrison.cli.main", "bridge", world.url, *home], env, [INITIALIZE])
    assert "has ended" in answers[0]["error"]["message"]
    assert f"garrison login {world.url}" in answers[0]["error"]["message"]
    assert len(world.issuer.authorize_queries) == 1


async def test_a_token_that_is_refused_is_replaced_without_the_client_noticing(world: World, tmp_path: Path) -> None:
    program = StdioServerParameters(
        command=sys.executable,
        args=["-m", "garrison.cli.main", *words(world, tmp_path)],
        env=environment(tmp_path),
    )
    refused: list[str] = []

    def refuse_first(seen: Any) -> tuple[int, dict[str, str]] | None:
        if seen.tool and not refused:
            refused.append(seen.authorization)
            return 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        return None

    async with Client(program) as local:
        world.gate.forced = refuse_first
        result = await local.call_tool("get_customer_info", {"customer_id": "ABC123"})
        assert result.structured_content
        assert refused
    assert len(world.issuer.forms) == 2


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_fastmcps_client_sees_a_local_server(world: World, tmp_path: Path, mode: str) -> None:
    arguments = ["-m", "garrison.cli.main", *words(world, tmp_path)]
    transport = StdioTransport(sys.executable, arguments, env=environment(tmp_path), keep_alive=False)
    with anyio.fail_after(60):
        async with fastmcp.Client(transport, mode=mode) as client:
            assert (await client.list_tools())[0].name == "get_customer_info"
            result = await client.call_tool("get_customer_info", {"customer_id": "ABC123"})
            assert result.structured_content
            with pytest.raises(MCPError, match="nowhere"):
                await client.read_resource("health://nowhere")


async def test_a_client_that_goes_ends_a_login_that_nobody_waits_for(world: World, tmp_path: Path) -> None:
    more = ["--home", str(tmp_path / "h"), "--client-id", "desktop", "--issuer", world.client["issuer"], "--no-browser"]
    program = [sys.executable, "-m", "garrison.cli.main", "bridge", world.url, *more]
    async with await anyio.open_process(program, env=environment(tmp_path)) as process:
        assert process.stdin
        assert process.stderr
        with anyio.fail_after(60):
            await process.stdin.send(json.dumps(INITIALIZE).encode() + b"\n")
            said = b""
            while b"Open this address" not in said:
                said += await process.stderr.receive()
            await process.stdin.aclose()
            assert await process.wait() == 0


async def test_a_client_that_no_longer_reads_ends_the_bridge_quietly(world: World, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    program = [sys.executable, "-m", "garrison.cli.main", *words(world, tmp_path)]
    async with await anyio.open_process(program, env=environment(tmp_path), stdout=writing) as process:
        os.close(writing)
        os.close(reading)
        assert process.stdin
        assert process.stderr
        with anyio.fail_after(60):
            await process.stdin.send(json.dumps(INITIALIZE).encode() + b"\n")
            errors = b"".join([chunk async for chunk in process.stderr])
            assert await process.wait() == 0, errors
    assert b"Traceback" not in errors
    assert b"the client has gone" in errors
