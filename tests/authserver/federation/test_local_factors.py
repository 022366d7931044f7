"""A factor here would let a user in whom the provider lets in no more: users of the provider have none."""

from dataclasses import replace

import httpx2
import pytest

from garrison.authserver import admin
from garrison.authserver.factors import relying_party
from garrison.authserver.passwords import Passwords
from garrison.authserver.stores.passkeys import find_passkey, save_passkey
from garrison.authserver.stores.tables import passkeys
from tests.authserver.authenticator import Authenticator, data, text
from tests.authserver.factor_world import OVERVIEW, add_passkey, answer, show_password, signed_in
from tests.authserver.federation.provider import Federation, answered, federation, query_of_address, returned
from tests.authserver.world import CHEAP, Make

CHANGES = ("/account/confirm?do=add-passkey", "/account/confirm?do=add-app", "/account/app?permit=x")


async def sign_in(town: Federation, browser: httpx2.AsyncClient) -> str:
    """At the provider; gives the name of the user."""
    town.provider.now = town.world.now
    asked = query_of_address(await answered(browser, await browser.get("/login/provider")))
    assert (await returned(browser, town.provider.authorize(asked))).status_code == 303
    return next(user.username for user in await admin.list_users(town.world.store) if user.external)


@pytest.mark.parametrize("local_users", [True, False])
async def test_a_user_of_the_provider_can_add_no_factor(make_world: Make, *, local_users: bool) -> None:
    async with federation(make_world, local_users=local_users) as town, town.world.browser() as browser:
        await sign_in(town, browser)
        for page in CHANGES:
            assert (await browser.get(page)).status_code == 403, page
        assert (await browser.get("/account/passkey?permit=x")).status_code == (403 if local_users else 404)
        overview = await browser.get(OVERVIEW)
        assert overview.status_code == 200
        assert "change there how you do" in overview.text
        assert "/account/confirm" not in overview.text


async def test_where_the_provider_alone_signs_in_there_are_no_passkeys(town: Federation) -> None:
    async with town.world.browser() as browser:
        assert (await browser.get("/passkey")).status_code == 404
        assert (await browser.post("/passkey")).status_code == 404


async def test_a_passkey_that_a_user_of_the_provider_has_all_the_same_signs_nobody_in(make_world: Make) -> None:
    device = Authenticator()
    async with federation(make_world, local_users=True) as town:
        await town.world.user()
        async with town.world.browser() as browser:
            await show_password(town.world, browser)
            assert (await add_passkey(browser, device)).status_code == 303
        async with town.world.browser() as browser:
            external = await sign_in(town, browser)
        async with town.world.browser() as browser:
            assert (await answer(browser, device)).status_code == 303, "a user with a password may"
        found = await find_passkey(town.world.store, text(device.credential_id))
        assert found
        async with town.world.store.write() as connection:
            await connection.execute(passkeys.delete())
        await save_passkey(town.world.store, replace(found, username=external))
        device.user_handle = data(relying_party.user_handle(town.world.settings, external))
        async with town.world.browser() as browser:
            assert (await answer(browser, device)).status_code == 403
            assert not await signed_in(browser)


async def test_no_text_is_the_password_of_a_user_without_one() -> None:
    passwords = Passwords(CHEAP)
    for nothing in ("", None):
        assert not await passwords.verify("the password of no user", nothing)
