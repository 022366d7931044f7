"""Factors of ours are for users of ours: who signs in at a provider has the provider's, and no way around it."""

from garrison.authserver import admin
from garrison.authserver.factors import relying_party
from garrison.authserver.passwords import Passwords, hash_password
from garrison.authserver.stores.passkeys import Passkey, save_passkey
from tests.authserver.authenticator import Authenticator, data, text
from tests.authserver.factor_world import OVERVIEW, answer, set_up_app, show_password, signed_in
from tests.authserver.federation.provider import Federation, settings
from tests.authserver.federation.provider import signed_in as signed_in_at_provider
from tests.authserver.world import CHEAP, PASSWORD

NOBODYS = "the password of no user"
"""What an unknown user's password is compared with, so that it takes as long."""


async def test_a_user_of_the_provider_has_no_factor_here_and_can_set_none_up(town: Federation) -> None:
    async with town.world.browser() as browser:
        await signed_in_at_provider(town, browser, await town.world.client())
        page = (await browser.get(OVERVIEW)).text
        assert f"You sign in at <strong>{settings(town.provider.issuer).label}</strong>" in page
        assert "Set up an app" not in page
        assert "passkey" not in page
        for proof in ("", PASSWORD, NOBODYS):
            form = {"do": "add-passkey", "proof": proof, "csrf": "x" * 43}
            for response in (
                await browser.get("/account/confirm", params={"do": "add-passkey"}),
                await browser.post("/account/confirm", data=form),
            ):
                assert response.status_code == 403
                assert "identity provider" in response.text


async def test_a_passkey_is_no_way_around_the_provider(town: Federation) -> None:
    world, device = town.world, Authenticator()
    async with world.browser() as browser:
        await signed_in_at_provider(town, browser, await world.client())
    (name,) = [user.username for user in await admin.list_users(world.store)]
    device.user_handle = data(relying_party.user_handle(world.settings, name))
    key = Passkey(text(device.credential_id), name, "Mine", device.public_key(), 0, world.time)
    assert await save_passkey(world.store, key)
    both = await world.another_app(identity_provider=settings(town.provider.issuer, local_users=True))
    async with world.browser(both) as browser:
        assert (await answer(browser, device)).status_code == 403
        assert not await signed_in(browser)


async def test_where_local_users_are_turned_off_their_factors_sign_nobody_in(town: Federation) -> None:
    world = town.world
    await world.user()
    before = await world.another_app(identity_provider=None)
    async with world.browser(before) as browser:
        await show_password(world, browser)
        await set_up_app(world, browser)
    async with world.browser(before) as browser, world.browser() as later:
        await show_password(world, browser)
        assert (await browser.get("/factor")).status_code == 200
        later.cookies.update(browser.cookies)
        assert (await later.get("/factor")).headers["location"] == "/login"
        assert (await later.get("/passkey")).status_code == 404


async def test_who_has_no_password_is_not_let_in_by_the_one_that_nobody_has() -> None:
    passwords = Passwords(CHEAP)
    passwords._nobody = await hash_password(NOBODYS, CHEAP)  # should anybody ever find one that fits it
    for nobodys_hash in (None, ""):
        assert not await passwords.verify(NOBODYS, nobodys_hash)
