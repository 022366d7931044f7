"""The database's versions: made by migrations alone, by one process at a time, and never run by older code."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from garrison.authserver.stores import migrations
from garrison.authserver.stores.store import Store, open_store
from garrison.authserver.stores.tables import METADATA
from garrison.base.errors import GarrisonError
from tests.authserver.world import ON_EVERY_ENGINE


@ON_EVERY_ENGINE
async def test_what_migrations_make_is_what_the_code_expects(database_url: str) -> None:
    def differences(connection: sa.Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    async with open_store(database_url) as store, store.read() as connection:
        assert await connection.run_sync(differences) == [], "python -m tests.authserver.first_migration"
        assert await connection.run_sync(migrations.version) == migrations.HEAD


def test_head_is_the_last_migration() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_current_head() == migrations.HEAD


@ON_EVERY_ENGINE
async def test_of_many_that_begin_at_once_one_migrates(database_url: str) -> None:
    """In threads, each with an event loop and connections of its own, as processes have."""
    begun = (asyncio.to_thread(asyncio.run, _migrate(database_url)) for _ in range(6))
    versions = await asyncio.gather(*begun)
    assert versions.count(None) == 1
    assert versions.count(migrations.HEAD) == 5


async def _migrate(url: str) -> str | None:
    store = Store(url)
    try:
        return await store.migrate()
    finally:
        await store.close()


@ON_EVERY_ENGINE
async def test_a_database_of_a_newer_version_is_refused_and_left_alone(database_url: str) -> None:
    async with open_store(database_url) as store, store.write() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(GarrisonError, match="newer than this garrison"):
        async with open_store(database_url):
            pass
    store = Store(database_url)
    async with store.read() as connection:
        assert await connection.run_sync(migrations.version) == "9999"
    await store.close()


@ON_EVERY_ENGINE
async def test_tables_without_a_version_are_refused_with_the_way_out(database_url: str) -> None:
    async with open_store(database_url) as store, store.write() as connection:
        await connection.execute(sa.text("DROP TABLE alembic_version"))
    with pytest.raises(GarrisonError, match="before its versions were counted"):
        async with open_store(database_url):
            pass


@ON_EVERY_ENGINE
async def test_a_migration_that_fails_changes_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alembic.operations.Operations.create_index", None)
    with pytest.raises(TypeError):
        async with open_store(database_url):
            pass
    monkeypatch.undo()
    async with open_store(database_url) as store:
        await store.ping()
