"""An account here belongs to one subject of one issuer, and has what the rules give that subject today."""

import asyncio
from typing import Any

import pytest

from garrison.authserver import admin
from garrison.base.events import Kind
from tests.authserver.federation.provider import (
    CLAIMS,
    EVERYONE,
    SUPPORT,
    Federation,
    Links,
    departed,
    federation,
    returned,
    signed_in,
)
from tests.authserver.world import ON_EVERY_ENGINE, Make, query_of

WIDE = "customer:read ticket:create"


async def users(town: Federation) -> dict[str, frozenset[str]]:
    return {user.username: user.scope for user in await admin.list_users(town.world.store)}


async def test_whom_no_rule_lets_in_gets_a_page_and_no_account(town: Federation) -> None:
    town.provider.claims["alice-sub"] = {**CLAIMS, "groups": ["chess"]}
    client = await town.world.client()
    async with town.world.browser() as browser:
        response = await signed_in(town, browser, client)
    assert response.status_code == 403
    assert Links(response.text).links[0].endswith("again=yes"), "another account may do"
    assert await users(town) == {}
    assert [event.reason for event in town.world.events.of(Kind.LOGIN_FAILED)] == ["no rule lets subject alice-sub in"]


async def test_a_user_with_nothing_of_the_scope_that_was_asked_for_grants_nothing(make_world: Make) -> None:
    async with federation(make_world, allow=[EVERYONE]) as town:
        town.provider.now = town.world.now
        client = await town.world.client()
        async with town.world.browser() as browser:
            response = await signed_in(town, browser, client, scope="ticket:create")
        assert query_of(response)["error"] == "access_denied"
        assert not town.world.events.of(Kind.CONSENT_GIVEN)


async def test_an_account_is_its_subjects_whatever_name_or_address_another_has(make_world: Make) -> None:
    async with federation(make_world, allow=[EVERYONE], username_claim="email") as town:
        town.provider.now = town.world.now
        client = await town.world.client()
        async with town.world.browser() as browser:
            await signed_in(town, browser, client)
        town.provider.claims["mallory-sub"] = dict(CLAIMS)
        async with town.world.browser() as browser:
            assert (await signed_in(town, browser, client, "mallory-sub")).status_code == 403
        town.provider.claims["alice-sub"]["email"] = "alice.new@example.com"
        async with town.world.browser() as browser:
            assert (await signed_in(town, browser, client)).status_code == 303
        assert set(await users(town)) == {"idp:alice@example.com"}
        shown = await admin.show_identity(town.world.store, "idp:alice@example.com")
        assert shown == (town.provider.issuer, "alice-sub")
        reasons = [event.reason for event in town.world.events.of(Kind.LOGIN_FAILED)]
        assert reasons == ["idp:alice@example.com is the name of another subject already"]


async def test_without_the_claim_that_names_them_nobody_new_is_let_in(make_world: Make) -> None:
    async with federation(make_world, allow=[EVERYONE], username_claim="nickname") as town:
        town.provider.now = town.world.now
        client = await town.world.client()
        async with town.world.browser() as browser:
            assert (await signed_in(town, browser, client)).status_code == 403
        assert await users(town) == {}


@ON_EVERY_ENGINE
async def test_two_first_sign_ins_at_once_are_one_account(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as one, town.world.browser() as two:
        asked = [await departed(town.world, browser, client) for browser in (one, two)]
        back = [
            returned(browser, town.provider.authorize(query)) for browser, query in zip((one, two), asked, strict=True)
        ]
        assert [response.status_code for response in await asyncio.gather(*back)] == [303, 303]
    assert len(await users(town)) == 1


async def test_a_local_users_name_is_never_taken_over(make_world: Make) -> None:
    async with federation(make_world, allow=[EVERYONE], username_claim="preferred_username", local_users=True) as town:
        town.provider.now = town.world.now
        await town.world.user("alice", "security:read")
        client = await town.world.client()
        async with town.world.browser() as browser:
            page = await browser.get("/authorize", params=town.world.authorization(client))
            page = await browser.get((await browser.get(page.headers["location"])).headers["location"])
            assert any(link.startswith("/login/provider?request=") for link in Links(page.text).links)
            form = await browser.get(next(link for link in Links(page.text).links if "provider" in link))
            assert "Allow and sign in" in form.text
        async with town.world.browser() as browser:
            location = (await browser.get("/account/grants")).headers["location"]
            assert (await town.world.sign_in(browser, location)).status_code == 303
        assert set(await users(town)) == {"alice"}


@pytest.mark.parametrize("claims", [{"groups": ["chess"]}, {"groups": None}, {}])
@ON_EVERY_ENGINE
async def test_who_is_let_in_no_more_loses_what_they_had(town: Federation, claims: dict[str, Any]) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        code = query_of(await signed_in(town, browser, client))["code"]
        tokens = (await town.world.token(client, town.world.redemption(client, code))).json()
        town.provider.claims["alice-sub"] = claims
        async with town.world.browser() as elsewhere:
            assert (await signed_in(town, elsewhere, client)).status_code == 403
        assert (await browser.get("/account/grants")).headers["location"] == "/login"
    assert (await town.world.refresh(client, tokens["refresh_token"])).status_code == 400
    assert list((await users(town)).values()) == [frozenset()]
    town.provider.claims["alice-sub"] = dict(CLAIMS)
    async with town.world.browser() as browser:
        assert (await signed_in(town, browser, client)).status_code == 303
    assert (await town.world.refresh(client, tokens["refresh_token"])).status_code == 400, "what has ended has"


async def test_a_scope_that_was_taken_away_at_the_provider_is_gone_with_the_next_sign_in(make_world: Make) -> None:
    async with federation(make_world, allow=[SUPPORT, EVERYONE]) as town:
        town.provider.now = town.world.now
        client = await town.world.client()
        async with town.world.browser() as browser:
            code = query_of(await signed_in(town, browser, client, scope=WIDE))["code"]
        tokens = (await town.world.token(client, town.world.redemption(client, code))).json()
        town.provider.claims["alice-sub"] = {"groups": []}
        async with town.world.browser() as browser:
            assert (await signed_in(town, browser, client, scope=WIDE)).status_code == 303
        refreshed = (await town.world.refresh(client, tokens["refresh_token"])).json()
        assert tokens["scope"] == WIDE
        assert town.world.read(refreshed["access_token"]).scopes == {"customer:read"}


async def test_a_user_that_the_operator_has_disabled_stays_out(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        await signed_in(town, browser, client)
    (username,) = await users(town)
    await admin.disable_user(town.world.store, username)
    async with town.world.browser() as browser:
        assert (await signed_in(town, browser, client)).status_code == 403
    assert [event.reason for event in town.world.events.of(Kind.LOGIN_FAILED)] == [f"{username} is disabled"]
    assert len(town.world.events.of(Kind.LOGIN_SUCCEEDED)) == 1
    await admin.remove_user(town.world.store, username)
    async with town.world.browser() as browser:
        assert (await signed_in(town, browser, client)).status_code == 303
