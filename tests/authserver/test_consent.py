"""Statements 22 and 23: what the user is asked, and when."""

from dataclasses import replace
from html import escape, unescape

import pytest

from garrison.authserver import admin
from garrison.authserver.stores.clients import save_client
from garrison.authserver.stores.granted import take_back
from garrison.authserver.stores.users import remembered_consent
from garrison.base.errors import UsageError
from garrison.base.events import Event, Kind
from tests.authserver.world import CALLBACK, ON_EVERY_ENGINE, RESOURCE, World, query_of

WARNING = "That is a program on this computer."
REMEMBER = 'name="remember"'


async def test_22_consent_shows_client_redirect_host_resource_and_scopes_in_plain_words(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        page = await world.consent_page(browser, await world.client(), scope="customer:read ticket:create")
    for shown in ("Support desk", "app.example", RESOURCE, "Read what is known about customers", "ticket:create"):
        assert shown in unescape(page.text)
    assert "security:read" not in page.text


async def test_22_everything_shown_is_escaped(world: World) -> None:
    await world.user()
    name = """<img src=x onerror=alert(1)>"'&"""
    async with world.browser() as browser:
        client = await world.client(name=name)
        response = await browser.get("/authorize", params=world.authorization(client))
        response = await browser.get(response.headers["location"])
        login = await browser.get(response.headers["location"])
        page = await world.consent_page(browser, client)
    for text in (login.text, page.text):
        assert "<img" not in text
        assert escape(name) in text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


async def test_22_a_name_that_hides_or_reorders_text_can_not_be_registered(world: World) -> None:
    for name in ("Bank\u202eevil", "two\nlines", "", " padded", "x" * 101, "zero\u200bwidth"):
        with pytest.raises(UsageError):
            await world.client(name=name)


@pytest.mark.parametrize(
    ("uri", "warned"),
    [
        ("http://127.0.0.1/cb", True),
        ("http://localhost:5000/cb", True),
        ("http://[::1]/cb", True),
        (CALLBACK, False),
    ],
)
async def test_23_a_redirect_to_this_computer_is_warned_of(world: World, uri: str, warned: bool) -> None:
    await world.user()
    async with world.browser() as browser:
        page = await world.consent_page(browser, await world.client(redirect_uris=[uri]))
    assert (WARNING in page.text) == warned


@ON_EVERY_ENGINE
async def test_23_the_user_is_asked_every_time_until_they_say_remember(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        await world.decide(browser, await world.consent_page(browser, client))
        page = await world.consent_page(browser, client)
        await world.decide(browser, page, remember="yes")
        assert "code" in query_of(await world.consent_page(browser, client))
        assert (await world.consent_page(browser, client, scope="customer:read ticket:create")).status_code == 200
        assert (await world.consent_page(browser, client, prompt="consent")).status_code == 200
        assert (await world.consent_page(browser, await world.client())).status_code == 200
    assert [event.detail["remembered"] for event in world.events.of(Kind.CONSENT_GIVEN)] == [False, False, True]


async def test_23_what_is_remembered_answers_at_once_and_after_a_sign_in(world: World) -> None:
    await world.user()
    client = await world.client()
    await world.remember(username="alice", client_id=client.client_id, resource=RESOURCE, scope="customer:read")
    async with world.browser() as browser:
        response = await browser.get("/authorize", params=world.authorization(client))
        assert response.headers["location"].startswith("/consent?")
        assert "code" in query_of(await world.consent_page(browser, client))
        response = await browser.get("/authorize", params=world.authorization(client))
    form = world.redemption(client, query_of(response)["code"])
    assert (await world.token(client, form)).json()["scope"] == "customer:read"


async def test_15_whoever_lost_all_scope_gets_no_code_for_nothing(world: World) -> None:
    await world.user()
    client = await world.client()
    await world.remember(username="alice", client_id=client.client_id, resource=RESOURCE, scope="customer:read")
    async with world.browser() as browser:
        assert "code" in query_of(await world.consent_page(browser, client))
        await admin.set_user_scope(world.store, "alice", "ticket:create")
        assert query_of(await world.consent_page(browser, client))["error"] == "access_denied"


async def test_what_was_remembered_a_moment_ago_is_asked_for_again_if_it_is_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.user()
    client = await world.client()
    await world.remember(username="alice", client_id=client.client_id, resource=RESOURCE, scope="customer:read")
    write = world.events.write

    async def take_back_meanwhile(event: Event) -> None:
        await write(event)
        await take_back(world.store, "alice", client.client_id, RESOURCE, now=world.time)

    async with world.browser() as browser:
        await world.consent_page(browser, client)
        monkeypatch.setattr(world.events, "write", take_back_meanwhile)
        page = await world.consent_page(browser, client)
    assert (page.status_code, page.request.url.path) == (200, "/consent")
    assert world.events.of(Kind.CONSENT_REFUSED)


async def test_23_a_public_client_can_not_be_remembered(world: World) -> None:
    await world.user()
    client = await world.client(public=True)
    key = {"username": "alice", "client_id": client.client_id, "resource": RESOURCE}
    async with world.browser() as browser:
        page = await world.consent_page(browser, client)
        assert REMEMBER not in page.text
        await world.decide(browser, page, remember="yes")
        assert not await remembered_consent(world.store, **key)
        await world.remember(**key, scope="customer:read")
        assert (await world.consent_page(browser, client)).status_code == 200


@pytest.mark.parametrize("decision", ["refuse", "", "Approve"])
async def test_anything_but_approval_is_access_denied(world: World, decision: str) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        response = await world.decide(browser, await world.consent_page(browser, client), decision=decision)
    assert query_of(response)["error"] == "access_denied"
    assert world.events.of(Kind.CONSENT_REFUSED)[0].subject == "alice"
    assert not world.events.of(Kind.CONSENT_GIVEN)


async def test_what_is_granted_is_what_was_on_the_page(world: World) -> None:
    await world.user("bob", scope="customer:read")
    client = await world.client()
    async with world.browser() as browser:
        response = await browser.get("/authorize", params=world.authorization(client, scope=None))
        response = await browser.get(response.headers["location"])
        response = await world.sign_in(browser, response.headers["location"], "bob")
        page = await browser.get(response.headers["location"])
        await admin.set_user_scope(world.store, "bob", "customer:read ticket:create")
        assert (await world.decide(browser, page)).status_code == 400


@ON_EVERY_ENGINE
async def test_a_client_that_lost_its_rights_since_the_request_gets_nothing(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        page = await world.consent_page(browser, client)
        moved = replace(client.client, redirect_uris=("https://app.example/moved",))
        for change in (
            admin.disable_client(world.store, client.client_id),
            admin.remove_client(world.store, client.client_id),
            save_client(world.store, moved, None),
        ):
            await change
            assert (await world.decide(browser, page)).status_code == 400


@ON_EVERY_ENGINE
async def test_a_consent_that_can_not_be_recorded_gives_no_code(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        page = await world.consent_page(browser, client)
        world.events.broken = True
        response = await world.decide(browser, page)
    assert response.status_code == 503
    assert "location" not in response.headers


async def test_the_first_button_which_the_enter_key_presses_refuses(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        page = await world.consent_page(browser, await world.client())
    form = page.text.partition('action="/consent"')[2]
    assert form.index('value="refuse"') < form.index('value="approve"')
