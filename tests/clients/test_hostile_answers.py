"""Servers that answer far more than anybody can need: read up to a bound, and believed in nothing."""

from collections.abc import Callable

import pytest

from garrison.base.errors import GarrisonError
from garrison.clients.session import connect
from tests.clients.world import World

MEGABYTES = "x" * 10_000_000


def resource_metadata(world: World) -> None:
    world.gate.metadata["resource_name"] = MEGABYTES


def server_metadata(world: World) -> None:
    world.issuer.metadata["service_documentation"] = MEGABYTES


def token_answer(world: World) -> None:
    world.issuer.raw_answer = f'{{"access_token": "t", "token_type": "Bearer", "more": "{MEGABYTES}"}}'


@pytest.mark.parametrize("swell", [resource_metadata, server_metadata, token_answer], ids=lambda swell: swell.__name__)
async def test_ten_megabytes_where_a_kilobyte_would_do_are_refused(
    world: World, swell: Callable[[World], None]
) -> None:
    swell(world)
    with pytest.raises(GarrisonError, match="answered more than"):
        async with connect(world.url, **world.client):
            pass
    assert {seen.authorization for seen in world.gate.seen} == {None}
