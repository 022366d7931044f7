"""A logout: the issuer is told (RFC 7009), and the login is forgotten whatever it says."""

import time

import pytest

from garrison.base.errors import GarrisonError
from garrison.base.fetch import Fetcher
from garrison.clients.errors import AuthorizationFailed
from garrison.clients.revocation import log_out
from garrison.clients.session import connect
from garrison.clients.tokens import MemoryTokens, StoredLogin, Token
from tests.clients.browser import Browser
from tests.clients.world import World


async def logged_in(world: World, storage: MemoryTokens) -> tuple[StoredLogin, Token]:
    async with connect(world.url, login=Browser().login(), storage=storage) as session:
        assert session._source
        key = session._source.key
        assert key
    login, token = StoredLogin(world.url, key), await storage.load(key)
    assert token
    await storage.save_login(login)
    return login, token


@pytest.fixture
def storage(world: World) -> MemoryTokens:
    world.issuer.registering = True
    world.issuer.metadata["revocation_endpoint"] = f"{world.issuer.issuer}/revoke"
    return MemoryTokens()


async def end(world: World, storage: MemoryTokens, login: StoredLogin) -> bool:
    async with Fetcher(private_addresses=True) as fetcher:
        return await log_out(storage, login, fetcher, time.time())


async def forgotten(storage: MemoryTokens, login: StoredLogin) -> bool:
    return await storage.load(login.key) is None and await storage.login(login.url) is None


async def test_both_tokens_are_revoked_as_the_client_and_forgotten(world: World, storage: MemoryTokens) -> None:
    login, token = await logged_in(world, storage)
    assert await end(world, storage, login)
    assert world.issuer.revoked == [
        {"token": token.refresh_token, "token_type_hint": "refresh_token", "client_id": "registered-1"},
        {"token": token.access_token, "token_type_hint": "access_token", "client_id": "registered-1"},
    ]
    assert await forgotten(storage, login)
    assert await storage.registration(login.key.issuer)  # for the next login


async def test_a_server_that_revokes_nothing_is_said_to_and_the_login_forgotten(
    world: World, storage: MemoryTokens
) -> None:
    login, _ = await logged_in(world, storage)
    del world.issuer.metadata["revocation_endpoint"]
    assert not await end(world, storage, login)
    assert await forgotten(storage, login)


async def test_a_refused_revocation_is_an_error_and_the_login_is_forgotten_all_the_same(
    world: World, storage: MemoryTokens
) -> None:
    login, _ = await logged_in(world, storage)
    world.issuer.revocation_status = 503
    with pytest.raises(AuthorizationFailed, match="503"):
        await end(world, storage, login)
    assert await forgotten(storage, login)


@pytest.mark.parametrize("endpoint", ["http://auth.example/revoke", "https://10.0.0.1/revoke"])
async def test_no_token_goes_to_a_forbidden_revocation_endpoint(
    world: World, storage: MemoryTokens, endpoint: str
) -> None:
    login, _ = await logged_in(world, storage)
    world.issuer.metadata["revocation_endpoint"] = endpoint
    with pytest.raises(GarrisonError, match="revocation_endpoint"):
        await end(world, storage, login)
    assert await forgotten(storage, login)


async def test_metadata_of_another_issuer_gets_no_token(world: World, storage: MemoryTokens) -> None:
    login, _ = await logged_in(world, storage)
    world.issuer.metadata["issuer"] = "https://evil.example"
    with pytest.raises(GarrisonError, match="another issuer"):
        await end(world, storage, login)
    assert world.issuer.revoked == []


async def test_a_login_without_a_token_is_just_forgotten(world: World, storage: MemoryTokens) -> None:
    login, _ = await logged_in(world, storage)
    await storage.save(login.key, None)
    assert not await end(world, storage, login)
    assert world.issuer.revoked == []
