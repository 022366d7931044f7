"""One token for all who share a storage: sessions, and processes; what mcp-remote's users complain about."""

import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from garrison.clients.errors import AuthorizationFailed
from garrison.clients.login import Login
from garrison.clients.retry_after import Timing
from garrison.clients.session import connect
from garrison.clients.tokens import FileTokens, MemoryTokens, TokenStorage
from tests.clients.browser import Browser
from tests.clients.world import World

ASK = ("get_customer_info", {"customer_id": "ABC123"})
PROCESS = Path(__file__).with_name("process.py")


async def log_in(world: World, storage: TokenStorage) -> None:
    async with connect(world.url, client_id="cli", login=Browser().login(), storage=storage):
        pass


def grants(world: World) -> list[str]:
    return [form["grant_type"] for form in world.issuer.forms]


@asynccontextmanager
async def fast(world: World) -> AsyncIterator[float]:
    """All clocks are ahead, so that a token that was just issued is about to end."""
    ahead = world.issuer.lifetime - 10.0
    world.issuer.clock = world.gate.clock = lambda: time.time() + ahead
    yield ahead


@pytest.mark.no_cover
async def test_two_processes_with_one_old_token_make_one_refresh_request(world: World, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    await log_in(world, FileTokens(file))
    printed: list[bytes] = []

    async def run(ahead: float) -> None:
        command = [sys.executable, str(PROCESS), world.url, str(file), str(ahead)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        printed.append((await anyio.run_process(command, env=environ)).stdout)

    async with fast(world) as ahead:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(run, ahead)
    assert printed == [b"demo_user\n"] * 2
    assert grants(world) == ["authorization_code", "refresh_token"]


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_sessions_that_share_a_storage_make_one_refresh_request(world: World, tmp_path: Path, kind: str) -> None:
    storage: TokenStorage = MemoryTokens() if kind == "memory" else FileTokens(tmp_path / "tokens.json")
    await log_in(world, storage)

    async def use(timing: Timing) -> None:
        async with connect(world.url, client_id="cli", login=Login(_nobody), storage=storage, timing=timing) as session:
            assert not (await session.call(*ASK)).is_error

    async with fast(world) as ahead, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(use, Timing(clock=lambda: time.time() + ahead))
    assert grants(world) == ["authorization_code", "refresh_token"]


async def test_two_sessions_that_start_at_once_make_one_login(world: World) -> None:
    world.issuer.registering = True
    storage, browser = MemoryTokens(), Browser()

    async def use() -> None:
        async with connect(world.url, login=browser.login(), storage=storage) as session:
            assert not (await session.call(*ASK)).is_error

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(use)
    assert (len(browser.urls), len(world.issuer.registrations)) == (1, 1)


async def test_a_refused_token_is_replaced_by_the_one_that_another_process_got_meanwhile(world: World) -> None:
    storage = MemoryTokens()
    async with connect(world.url, client_id="cli", login=Browser().login(), storage=storage) as session:
        first = world.gate.seen[-1].authorization
        source = session._source
        assert source
        assert source.key
        old = await storage.load(source.key)
        assert old
        assert old.refresh_token
        newer = world.issuer.token(world.url, " ".join(old.scopes), "demo_user", "cli")
        await storage.save(source.key, type(old)(newer, old.scopes, old.expires_at, old.renew_at, "newer"))
        world.gate.forced = lambda seen: (401, {}) if seen.tool and seen.authorization == first else None
        assert not (await session.call(*ASK)).is_error
    assert world.gate.seen[-1].authorization == f"Bearer {newer}"
    assert grants(world) == ["authorization_code"]


async def test_a_logout_elsewhere_is_a_logout_here(world: World) -> None:
    """A refresh token that somebody took out of the storage is not used from memory."""
    storage = MemoryTokens()
    ahead = [0.0]
    timing = Timing(clock=lambda: time.time() + ahead[0])
    browser = Browser()
    async with connect(world.url, client_id="cli", login=browser.login(), storage=storage, timing=timing) as session:
        assert session._source
        assert session._source.key
        await storage.save(session._source.key, None)
        ahead[0] = world.issuer.lifetime - 10.0
        await session.call(*ASK)
    assert grants(world) == ["authorization_code", "authorization_code"]


async def test_a_401_is_never_swallowed(world: World) -> None:
    """A server that refuses even the new token is an error that says so, not an empty result."""
    async with connect(world.url, client_id="cli", login=Browser().login()) as session:
        world.gate.forced = lambda seen: (401, {}) if seen.tool else None
        with pytest.raises(AuthorizationFailed, match="refuses even a new token"):
            await session.call(*ASK)


async def _nobody(url: str) -> None:
    raise AuthorizationFailed("a login was asked for")
