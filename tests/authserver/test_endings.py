"""What ends a grant ends it for good: not even a consent that was remembered brings it back without a question."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest

from garrison.authserver import admin, admin_factors, admin_grants
from garrison.authserver.stores.identities import lock_out
from tests.authserver.world import CHEAP, ON_EVERY_ENGINE, PASSWORD, World

NEW_PASSWORD = "another good password"
Ending = Callable[[World, str], Awaitable[None]]


async def password(world: World, _client_id: str) -> None:
    await admin.set_password(world.store, "alice", NEW_PASSWORD, cost=CHEAP, clock=world.now)


async def user_disabled(world: World, _client_id: str) -> None:
    for disabled in (True, False):
        await admin.disable_user(world.store, "alice", disabled=disabled, clock=world.now)


async def client_disabled(world: World, client_id: str) -> None:
    for disabled in (True, False):
        await admin.disable_client(world.store, client_id, disabled=disabled, clock=world.now)


async def grant_revoked(world: World, _client_id: str) -> None:
    for grant in await admin_grants.list_grants(world.store, username="alice", clock=world.now):
        await admin_grants.revoke_grant(world.store, grant.id, clock=world.now)


async def factors_reset(world: World, _client_id: str) -> None:
    await admin_factors.reset_factors(world.store, "alice", clock=world.now)


async def locked_out(world: World, _client_id: str) -> None:
    """As by the identity provider, which then lets the user in again."""
    await lock_out(world.store, "alice", world.time)
    await admin.set_user_scope(world.store, "alice", "customer:read")


async def asked(world: World, browser: httpx2.AsyncClient, client: admin.NewClient, secret: str) -> bool:
    """Whether `browser`, signed in anew if need be, is asked for consent."""
    response = await browser.get("/authorize", params=world.authorization(client))
    response = await browser.get(response.headers["location"])
    if response.headers.get("location", "").startswith("/login"):
        response = await world.sign_in(browser, response.headers["location"], password=secret)
        response = await browser.get(response.headers["location"])
    return response.status_code == 200


@ON_EVERY_ENGINE
@pytest.mark.parametrize("ending", [password, user_disabled, client_disabled, grant_revoked, factors_reset, locked_out])
async def test_23_what_ends_a_users_grants_makes_the_user_be_asked_again(world: World, ending: Ending) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        await world.decide(browser, await world.consent_page(browser, client), remember="yes")
        assert not await asked(world, browser, client, "")
        await ending(world, client.client_id)
        assert await asked(world, browser, client, NEW_PASSWORD if ending is password else PASSWORD)
