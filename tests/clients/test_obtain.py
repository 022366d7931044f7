"""A token for `garrison token`, and when a server may name the issuer that a secret goes to."""

import pytest

from garrison.base.errors import FetchError, UsageError
from garrison.base.fetch import Fetcher
from garrison.clients.means import Wanted
from garrison.clients.obtain import discover_local_issuer, obtain_token
from tests.clients.world import CLIENT_ID, CLIENT_SECRET, World


async def test_a_server_on_this_machine_may_name_an_issuer_on_this_machine(world: World) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        assert await discover_local_issuer(world.url, fetcher) == world.issuer.issuer


async def test_a_server_elsewhere_may_not_name_the_issuer() -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        with pytest.raises(UsageError, match="which authorization server"):
            await discover_local_issuer("https://mcp.example/mcp", fetcher)


async def test_a_server_on_this_machine_may_not_name_an_issuer_elsewhere(world: World) -> None:
    world.gate.issuers = ["https://issuer.invalid"]
    async with Fetcher(private_addresses=True) as fetcher:
        with pytest.raises((UsageError, FetchError)):
            await discover_local_issuer(world.url, fetcher)
    assert world.issuer.forms == []


async def test_an_issuer_on_this_machine_may_not_have_its_token_endpoint_elsewhere(world: World) -> None:
    world.issuer.metadata = {"token_endpoint": "https://token.example/token"}
    async with Fetcher(private_addresses=True) as fetcher:
        with pytest.raises(UsageError, match="which authorization server"):
            await discover_local_issuer(world.url, fetcher)


async def test_a_token_is_verified_before_it_is_handed_over(world: World) -> None:
    wanted = Wanted(world.url, CLIENT_ID, CLIENT_SECRET, world.issuer.issuer, "customer:read")
    async with Fetcher(private_addresses=True) as fetcher:
        token = await obtain_token(wanted, fetcher)
    assert token.scopes == {"customer:read"}
    assert len(token.access_token.split(".")) == 3


async def test_without_a_client_there_is_no_token(world: World) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        with pytest.raises(UsageError, match="no client"):
            await obtain_token(Wanted(world.url), fetcher)
