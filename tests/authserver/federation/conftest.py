from collections.abc import AsyncIterator

import pytest

from tests.authserver.federation.provider import Federation, federation
from tests.authserver.world import Make


@pytest.fixture
async def town(make_world: Make) -> AsyncIterator[Federation]:
    async with federation(make_world) as made:
        made.provider.now = made.world.now
        yield made
