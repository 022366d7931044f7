import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.store import open_store
from garrison.oauth import jwks
from tests.authserver.world import CHEAP, ISSUER, RESOURCE, SCOPES, Make, World
from tests.postgresql import PostgreSQL, running


@pytest.fixture(scope="session")
def signing_key() -> jwks.SigningKey:
    """Of a quick kind: reading an RSA key takes longer than most tests."""
    return jwks.new_signing_key("ES256")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with running() as cluster:
        yield cluster


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: SQLite's, or of the engines that the test names (`ON_EVERY_ENGINE`)."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return str(tmp_path / "auth.db")
    cluster: PostgreSQL = request.getfixturevalue("postgresql")
    return cluster.database()


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making them is half of what a small test costs, so most begin with a copy."""
    path = tmp_path_factory.mktemp("sqlite") / "auth.db"

    async def make() -> None:
        async with open_store(str(path)):
            pass

    asyncio.run(make())
    return path


@pytest.fixture
async def make_world(
    database_url: str, signing_key: jwks.SigningKey, sqlite_with_tables: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    monkeypatch.setattr("garrison.authserver.stores.store.LOCK_TIMEOUT", 60.0)  # a busy machine is no outage
    if "://" not in database_url:
        shutil.copy(sqlite_with_tables, database_url)
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> World:
            values = {
                "issuer": ISSUER,
                "database_url": database_url,
                "signing_keys": [signing_key],
                "secret": b"s" * 32,
                "resources": {RESOURCE: SCOPES},
                "scope_descriptions": {"customer:read": "Read what is known about customers"},
                "password_cost": CHEAP,
                **changes,
            }
            settings = AuthServerSettings(**values)
            store = await stack.enter_async_context(open_store(settings.database_url))
            world = World(settings, store, Starlette(), stack)
            world.app = await world.another_app()
            return world

        yield make


@pytest.fixture
async def world(make_world: Make) -> World:
    return await make_world()
