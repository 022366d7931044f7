"""The walk that `garrison demo` takes: the whole system once, step by step, over real TLS on this machine."""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx2

from garrison.base.errors import GarrisonError
from garrison.config.server import server_settings
from garrison.demo.installation import install
from garrison.demo.scene import Scene, Step
from garrison.demo.steps import bridge, models, path, refusals, tools
from garrison.demo.system import HOST, TLS_PORTS, Addresses, serving_both
from garrison.home import Home
from garrison.serving import free_port
from garrison.tls.context import client_context

STEPS: tuple[tuple[str, Step], ...] = (*path.STEPS, *tools.STEPS, *refusals.STEPS, *models.STEPS, *bridge.STEPS)
TIMEOUT = 20.0

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """How one step went: what was seen if it passed, else what went wrong; `seconds` it took."""

    step: str
    passed: bool
    seen: str
    seconds: float


@dataclass(frozen=True)
class Reporter:
    """Where the walk tells what it does: `detail` gets single lines, `done` each finished step."""

    detail: Callable[[str], None]
    done: Callable[[Outcome], None]


class Servers:
    """The two servers, which can be restarted on the same addresses."""

    def __init__(self, home: Home, environ: Mapping[str, str], at: Addresses) -> None:
        self._home = home
        self._settings = server_settings(home.folder, environ)
        self._at = at
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        await self._stack.enter_async_context(serving_both(self._home, self._settings, self._at))

    async def stop(self) -> None:
        await self._stack.aclose()

    async def restart(self) -> None:
        await self.stop()
        await self.start()


def choose_addresses(tell: Callable[[str], None]) -> Addresses:
    """The default ports, or free ones where these are in use, which is told."""
    ports = [free_port(HOST, preferred) for preferred in TLS_PORTS]
    for preferred, port in zip(TLS_PORTS, ports, strict=True):
        if port != preferred:
            tell(f"port {preferred} is in use; taking {port}")
    auth_port, mcp_port = ports
    return Addresses(auth_port, mcp_port)


@contextlib.asynccontextmanager
async def staged(home: Home, environ: Mapping[str, str], reporter: Reporter) -> AsyncIterator[Scene]:
    """The installation, both servers and a client, for as long as the block runs."""
    at = choose_addresses(reporter.detail)
    servers = Servers(home, environ, at)
    await servers.start()
    try:
        trust = client_context(home.ca)
        # No idle connections: they would keep a server that is to be restarted waiting for them.
        limits = httpx2.Limits(max_keepalive_connections=0)
        async with httpx2.AsyncClient(verify=trust, timeout=TIMEOUT, trust_env=False, limits=limits) as http:
            yield Scene(
                home=home,
                at=at,
                trust=trust,
                http=http,
                show=reporter.detail,
                restart=servers.restart,
                database_url=home.auth_database_url(server_settings(home.folder, environ).auth_database_url),
            )
    finally:
        await servers.stop()


async def prepared(home: Home, environ: Mapping[str, str], reporter: Reporter) -> list[Outcome]:
    """The first step: make the state folder."""

    async def make(_scene: None) -> str:
        made = await install(home, server_settings(home.folder, environ).auth_database_url)
        open_files = [file.name for file in home.folder.iterdir() if file.stat().st_mode & 0o077]
        if open_files:
            raise GarrisonError(f"others may read {', '.join(open_files)}")
        return f"{len(made)} files in {home.folder}, each mode 0600"

    return [await _taken("init: keys, local CA, certificates, a client, a user", make, None, reporter)]


async def walk(scene: Scene, reporter: Reporter) -> list[Outcome]:
    """Take all steps; one that fails does not keep the others from being taken."""
    return [await _taken(name, step, scene, reporter) for name, step in STEPS]


async def _taken(name: str, step: Callable[[T], Awaitable[str]], scene: T, reporter: Reporter) -> Outcome:
    begun = time.perf_counter()
    try:
        seen, passed = await step(scene), True
    except GarrisonError as error:
        seen, passed = f"{error.message} {error.hint}".strip(), False
    except Exception as error:  # noqa: BLE001 - whatever a library raises, the walk goes on and says so
        seen, passed = f"{type(error).__name__}: {error}", False
    outcome = Outcome(name, passed, seen, time.perf_counter() - begun)
    reporter.done(outcome)
    return outcome
