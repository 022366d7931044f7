"""The page where a user sees what they have granted and takes it back; statements 20 to 22 and 44 for it."""

from html import escape, unescape

import httpx2
import pytest

from garrison.authserver import admin, backoff
from garrison.authserver.stores.families import living_families
from garrison.authserver.stores.users import remembered_consent
from garrison.base.events import Kind
from tests.authserver.test_introspection import INACTIVE, asked, resource_server
from tests.authserver.world import ON_EVERY_ENGINE, RESOURCE, SCOPES, Forms, Make, World, query_of

PAGE = "/account/grants"
NOTHING = "No application can act as you."
TAKE_BACK = "Take access away"
OTHER = "https://other.example/mcp"


async def sign_in(world: World, browser: httpx2.AsyncClient, username: str = "alice") -> httpx2.Response:
    """The page, from a browser that was not signed in."""
    response = await browser.get(PAGE)
    assert response.headers["location"] == "/login"
    response = await world.sign_in(browser, response.headers["location"], username)
    assert (response.status_code, response.headers["location"]) == (303, PAGE)
    return await browser.get(PAGE)


def forms(page: httpx2.Response) -> list[dict[str, str]]:
    return [fields for action, fields in Forms(page.text).forms if action == PAGE]


@ON_EVERY_ENGINE
async def test_22_a_user_sees_client_host_scopes_in_plain_words_resource_since_when_and_last_used(
    world: World,
) -> None:
    await world.user()
    client = await world.client()
    body = await world.tokens(client)
    world.time += 3600
    await world.refresh(client, body["refresh_token"])
    async with world.browser() as browser:
        page = await sign_in(world, browser)
    for shown in (
        "Support desk",
        "<dd>app.example</dd>",
        "Read what is known about customers",
        "customer:read",
        RESOURCE,
        "15 January 2027, 08:00 UTC",
        "15 January 2027, 09:00 UTC",
    ):
        assert shown in unescape(page.text)
    assert "ticket:create" not in page.text
    assert "Asks again" not in page.text


async def test_22_what_is_shown_is_escaped(world: World) -> None:
    await world.user()
    name = "<b onclick=x>'\"&"
    await world.tokens(await world.client(name=name))
    async with world.browser() as browser:
        page = await sign_in(world, browser)
    assert "<b " not in page.text
    assert escape(name) in page.text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


@ON_EVERY_ENGINE
async def test_grants_to_one_client_at_one_resource_are_one(make_world: Make) -> None:
    world = await make_world(resources={RESOURCE: SCOPES, OTHER: SCOPES})
    await world.user()
    client = await world.client()
    for scope in ("customer:read", "ticket:create"):
        await world.tokens(client, scope=scope)
    await world.tokens(client, resource=OTHER)
    async with world.browser() as browser:
        page = await sign_in(world, browser)
    assert [fields["resource"] for fields in forms(page)] == [RESOURCE, OTHER]
    assert page.text.count("ticket:create") == 1


@ON_EVERY_ENGINE
async def test_44_taking_access_away_ends_refresh_and_access_tokens_there_and_nowhere_else(make_world: Make) -> None:
    world = await make_world(resources={RESOURCE: SCOPES, OTHER: SCOPES})
    await world.user()
    await world.user("bob")
    client, bystander = await world.client(), await world.client()
    server = await resource_server(world, RESOURCE, OTHER)
    ended = [await world.tokens(client) for _ in range(2)]
    kept = [await world.tokens(client, resource=OTHER), await world.tokens(bystander)]
    async with world.browser() as browser:
        page = await sign_in(world, browser)
        fields = next(f for f in forms(page) if (f["client_id"], f["resource"]) == (client.client_id, RESOURCE))
        response = await browser.post(PAGE, data=fields)
        assert response.status_code == 303
        page = await browser.get(response.headers["location"])
        assert '<p class="notice" role="status">' in page.text
        assert len(forms(page)) == 2
        await browser.post(PAGE, data=fields)
    for body in ended:
        assert await asked(world, server, body["access_token"]) == INACTIVE
        assert (await world.refresh(client, body["refresh_token"])).status_code == 400
    for body in kept:
        assert (await asked(world, server, body["access_token"]))["active"] is True
    (event,) = world.events.of(Kind.TOKEN_REVOKED)
    assert (event.subject, event.client_id, event.detail["resource"]) == ("alice", client.client_id, RESOURCE)


@ON_EVERY_ENGINE
async def test_23_a_remembered_consent_is_listed_and_forgotten(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        await world.decide(browser, await world.consent_page(browser, client), remember="yes")
        world.time += world.settings.access_token_lifetime + 1
        page = await browser.get(PAGE)
        assert "No, as you chose" in page.text
        assert "Never" in page.text
        await browser.post(PAGE, data=forms(page)[0])
        assert NOTHING in (await browser.get(PAGE)).text
        assert (await world.consent_page(browser, client)).status_code == 200
    key = {"username": "alice", "client_id": client.client_id, "resource": RESOURCE}
    assert not await remembered_consent(world.store, **key)


@ON_EVERY_ENGINE
async def test_only_what_can_still_be_used_is_listed(world: World) -> None:
    await world.user()
    refreshed, single = await world.client(), await world.client(grants=["authorization_code"])
    await world.code(await world.client(name="Never redeemed"))
    body = await world.tokens(refreshed)
    await world.tokens(single)
    async with world.browser() as browser:
        assert len(forms(await sign_in(world, browser))) == 3
        world.time += world.settings.access_token_lifetime
        assert [f["client_id"] for f in forms(await browser.get(PAGE))] == [refreshed.client_id]
        await world.refresh(refreshed, body["refresh_token"])
        await admin.set_user_scope(world.store, "alice", "customer:read")
        assert len(forms(await browser.get(PAGE))) == 1
    world.time += world.settings.refresh_idle_lifetime
    async with world.browser() as browser:
        assert NOTHING in (await sign_in(world, browser)).text


async def test_nobody_sees_or_ends_what_another_has_granted(world: World) -> None:
    await world.user()
    await world.user("bob")
    client = await world.client()
    body = await world.tokens(client)
    async with world.browser() as alice, world.browser() as bob:
        fields = forms(await sign_in(world, alice))[0]
        assert NOTHING in (await sign_in(world, bob, "bob")).text
        assert (await bob.post(PAGE, data=fields)).status_code == 400
        assert (await world.refresh(client, body["refresh_token"])).status_code == 200
        await world.decide(bob, await world.consent_page(bob, client), remember="yes")
        assert (await alice.post(PAGE, data=fields)).status_code == 303
        assert NOTHING in (await alice.get(PAGE)).text
        assert len(forms(await bob.get(PAGE))) == 1
        response = await world.consent_page(bob, client)
        assert "code" in query_of(response), "bob is not asked again"
    assert len(await living_families(world.store, world.time, username="bob")) == 2


@pytest.mark.parametrize("change", [{"csrf": "x" * 43}, {"csrf": ""}, {"client_id": "client_other"}, {"resource": ""}])
async def test_20_a_form_that_is_not_the_pages_own_is_refused(world: World, change: dict[str, str]) -> None:
    await world.user()
    client = await world.client()
    body = await world.tokens(client)
    async with world.browser() as browser:
        fields = forms(await sign_in(world, browser))[0]
        assert (await browser.post(PAGE, data={**fields, **change})).status_code == 400
        twice = {**fields, "resource": [RESOURCE, OTHER]}
        assert (await browser.post(PAGE, data=twice)).status_code == 400
    assert (await world.refresh(client, body["refresh_token"])).status_code == 200


async def test_who_is_not_signed_in_is_shown_and_can_end_nothing(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        for response in (await browser.get(PAGE), await browser.post(PAGE, data={"client_id": "x", "resource": "y"})):
            assert (response.status_code, response.headers["location"]) == (303, "/login")


async def test_21_the_page_is_unframed_unstored_unreferred_without_script_and_its_forms_stay_here(
    world: World,
) -> None:
    await world.user()
    await world.tokens(await world.client())
    async with world.browser() as browser:
        login = await browser.get("/login")
        page = await sign_in(world, browser)
    for response in (login, page):
        policy = response.headers["content-security-policy"]
        assert policy.endswith("; form-action 'self'")
        assert "frame-ancestors 'none'" in policy
        assert "script" not in policy + response.text
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["referrer-policy"] == "no-referrer"


async def test_25_signing_in_to_ones_own_page_is_slowed_down_like_any_sign_in(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        for _ in range(world.settings.free_failures_per_account + 1):
            assert (await world.sign_in(browser, "/login", password="wrong")).status_code == 403
        assert (await world.sign_in(browser, "/login")).status_code == 429
    assert backoff.pause(0, 1) == 2


async def test_the_page_can_be_used_by_keyboard_and_read_aloud(world: World) -> None:
    await world.user()
    await world.tokens(await world.client())
    async with world.browser() as browser:
        page = (await sign_in(world, browser)).text
        assert 'href="/account/grants"' in (await browser.get("/logout")).text
    assert '<html lang="en">' in page
    assert '<section class="grant" aria-labelledby="grant-1">' in page
    assert f'<button type="submit" aria-describedby="grant-1">{TAKE_BACK}</button>' in page
    assert page.index("<h1>") < page.index("<h2")
    assert "tabindex" not in page
    assert "autofocus" not in page


@ON_EVERY_ENGINE
async def test_taking_access_away_happens_even_if_it_can_not_be_recorded_and_says_so(world: World) -> None:
    await world.user()
    client = await world.client()
    body = await world.tokens(client)
    async with world.browser() as browser:
        fields = forms(await sign_in(world, browser))[0]
        world.events.broken = True
        assert (await browser.post(PAGE, data=fields)).status_code == 503
    world.events.broken = False
    assert (await world.refresh(client, body["refresh_token"])).status_code == 400


async def test_below_an_issuers_path_the_page_is_below_it_too(make_world: Make) -> None:
    world = await make_world(issuer="https://auth.example/tenant")
    async with world.browser() as browser:
        response = await browser.get(f"/tenant{PAGE}")
        assert response.headers["location"] == "/tenant/login"
        assert 'action="/tenant/login"' in (await browser.get("/tenant/login")).text
