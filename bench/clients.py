"""What the clients cost: our session over the SDK's bare client, one token for many calls, and the time of imports.

    python bench/clients.py [CALLS]

The two servers of `garrison up` run in a process of their own. The bare client has a token given to it; the session
gets its own, verifies and renews it. Rounds of calls take turns, and the figures are of this process alone.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
from bench.throughput import PLENTY, free_port, until_it_listens
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from garrison import connect
from garrison.clients.retry_after import Timing
from garrison.clients.session import Session
from garrison.clients.tokens import RENEWAL_MARGIN
from garrison.home import Home

CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
ROUNDS = 7
TOGETHER = 200
STARTS = 2
ASK = "get_customer_info", {"customer_id": "ABC123"}
GARRISON = Path(sys.executable).with_name("garrison")
LIBRARIES = {
    "openai": "openai",
    "openai-responses": "openai",
    "anthropic": "anthropic",
    "langchain": "langchain.agents, langchain_openai",
    "dspy": "dspy",
    "litellm": "litellm",
}
Ask = Callable[[], Awaitable[Any]]


@contextlib.asynccontextmanager
async def servers(folder: Path) -> AsyncIterator[tuple[Home, str, str]]:
    """Both servers on loopback; their state folder, the issuer and the MCP server's address."""
    home = Home(folder / "h")
    await garrison("init", home)
    (home.folder / "garrison.toml").write_text(f"[limits]\nconcurrent_calls = {10 * TOGETHER}\n")
    auth, mcp = free_port(), free_port()
    ports = "--auth-port", str(auth), "--mcp-port", str(mcp)
    limits = {"RATE_LIMIT_REQUESTS_PER_MINUTE": PLENTY, "RATE_LIMIT_TOKENS_PER_HOUR": PLENTY}
    process = await asyncio.create_subprocess_exec(
        GARRISON,
        *("up", "--http", "--home", str(home.folder), *ports),
        env={**os.environ, **limits},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await until_it_listens(mcp)
        yield home, f"http://localhost:{auth}", f"http://localhost:{mcp}/mcp"
    finally:
        process.terminate()
        await process.wait()


async def garrison(command: str, home: Home, *words: str) -> str:
    """What the command prints."""
    done = await anyio.run_process([GARRISON, *command.split(), "--home", str(home.folder), *words])
    return done.stdout.decode()


async def tokens_issued(home: Home) -> int:
    """As the authorization server's own record has it."""
    listed = await garrison("events list", home, "--kind", "token.issued", "--limit", "1000", "--json")
    return len(listed.splitlines())


async def timed(ask: Ask) -> tuple[float, float]:
    """Microseconds a call: CPU of this process, and wall clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(CALLS):
        await ask()
    return 1e6 * (time.process_time() - cpu) / CALLS, 1e6 * (time.perf_counter() - wall) / CALLS


async def overhead(session: Session, url: str, token: str) -> None:
    """Print what a call costs by the bare client and by the session, in turns."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode="2026-07-28") as bare,
    ):
        asks: dict[str, Ask] = {
            "the SDK's client": lambda: bare.call_tool(*ASK),
            "our session": lambda: session.call(*ASK),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in asks}
        for ask in asks.values():
            await timed(ask)
        for _ in range(ROUNDS):
            for name, ask in asks.items():
                taken[name].append(await timed(ask))
    cpu = {name: statistics.median(one[0] for one in figures) for name, figures in taken.items()}
    wall = {name: statistics.median(one[1] for one in figures) for name, figures in taken.items()}
    first, second = asks
    for name in asks:
        print(f"{name:<20}{cpu[name]:8.0f} µs of CPU a call {wall[name]:8.0f} µs of wall clock")
    ratios = cpu[second] / cpu[first], wall[second] / wall[first]
    print(f"{'ratio':<20}{ratios[0]:8.2f}                  {ratios[1]:8.2f}")


async def together(home: Home, options: dict[str, Any], url: str) -> None:
    """Print how many tokens are asked for when many calls meet one that is about to end."""
    ahead = 0.0
    async with connect(url, timing=Timing(clock=lambda: time.time() + ahead), **options) as session:
        token = session.token
        before = await tokens_issued(home)
        ahead = (token.expires_at or 0) - time.time() - RENEWAL_MARGIN + 1 if token else 0
        begun = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(TOGETHER):
                tasks.start_soon(session.call, *ASK)
        took = time.perf_counter() - begun
        asked = await tokens_issued(home) - before
        print(f"{TOGETHER} calls at once, as the token ends: {asked} token request, {took:.1f} s")


def cpu_of(code: str) -> float:
    """Milliseconds of CPU that a fresh Python takes for `code`: the least of a few."""
    program = f"{code}\nimport time\nprint(time.process_time())"
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    taken = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)  # noqa: S603
        for _ in range(STARTS)
    ]
    return 1000 * min(float(one.stdout) for one in taken)


def imports() -> None:
    """Print what an import costs over what it is built on."""
    python, mcp = cpu_of("pass"), cpu_of("import mcp")
    ours = cpu_of("from garrison import connect")
    print(f"{'import':<20}{'alone':>10}{'ours':>10}{'more':>10}   ms of CPU")
    print(f"{'garrison.connect':<20}{mcp - python:10.0f}{ours - python:10.0f}{ours - mcp:10.0f}   over mcp")
    for name, libraries in LIBRARIES.items():
        base = cpu_of(f"from garrison import connect\nimport {libraries}")
        adapter = cpu_of(f"from garrison import connect\nimport garrison.clients.adapters.{name.replace('-', '_')}")
        print(f"{name:<20}{base - python:10.0f}{adapter - python:10.0f}{adapter - base:10.0f}   over connect and it")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with servers(Path(folder)) as (home, issuer, url):
            client = home.read_credentials(home.client)
            options = {"client_id": client["client_id"], "client_secret": client["client_secret"], "issuer": issuer}
            token = (await garrison("token", home, "--resource", url)).strip()
            async with connect(url, mode="2026-07-28", **options) as session:
                await overhead(session, url, token)
            await together(home, options, url)
    imports()


if __name__ == "__main__":
    asyncio.run(main())
