"""From one database into an empty one: all or nothing, and what was granted goes on."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from garrison.authserver.stores.copying import copy_all
from garrison.authserver.stores.store import open_store
from garrison.authserver.stores.tables import METADATA, users
from garrison.base.errors import UsageError
from tests.authserver.test_refresh import start
from tests.authserver.world import ON_EVERY_ENGINE, Make


@ON_EVERY_ENGINE
async def test_a_grant_goes_on_in_the_copy(make_world: Make, tmp_path: Path) -> None:
    world = await make_world()
    client, token = await start(world)
    async with open_store(str(tmp_path / "copy.db")) as copy:
        copied = await copy_all(world.store, copy)
        async with copy.read() as connection:
            for table in METADATA.sorted_tables:
                copied -= await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    assert copied == 0
    there = await world.another_app(database_url=str(tmp_path / "copy.db"))
    form = {"grant_type": "refresh_token", "refresh_token": token}
    response = await world.token(client, form, there)
    assert response.status_code == 200
    assert world.read(response.json()["access_token"]).subject == "alice", "signed with the same key"


@ON_EVERY_ENGINE
async def test_nothing_is_copied_over_what_is_there(make_world: Make, tmp_path: Path) -> None:
    world = await make_world()
    await start(world)
    async with open_store(str(tmp_path / "other.db")) as other:
        with pytest.raises(UsageError, match="not empty"):
            await copy_all(other, world.store)
        await copy_all(world.store, other)
        with pytest.raises(UsageError, match="not empty"):
            await copy_all(world.store, other)
        async with other.read() as connection:
            assert await connection.scalar(sa.select(sa.func.count()).select_from(users)) == 1
