from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.authserver.federation.provider import Federation, federation
from tests.authserver.world import Make


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One engine is enough here: the verbs are tried on both (tests/authserver/test_external_users.py)."""
    return str(tmp_path / "auth.db")


@pytest.fixture
async def town(make_world: Make) -> AsyncIterator[Federation]:
    async with federation(make_world) as made:
        made.provider.now = made.world.now
        yield made
