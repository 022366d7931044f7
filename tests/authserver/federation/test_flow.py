"""Sign-in at an external provider: from a client's authorization request to its tokens, and who may go that way."""

from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from garrison.authserver import admin
from garrison.authserver.passwords import Passwords
from garrison.authserver.stores.clients import save_client
from garrison.authserver.stores.tables import departures
from garrison.base.errors import UsageError
from garrison.base.events import Kind
from tests.authserver.federation.provider import (
    CLAIMS,
    CLIENT_ID,
    Federation,
    Links,
    address,
    answered,
    departed,
    federation,
    query_of_address,
    question,
    returned,
    settings,
    signed_in,
)
from tests.authserver.world import CALLBACK, CHEAP, ON_EVERY_ENGINE, PASSWORD, RESOURCE, Forms, Make, query_of

COOKIE = "__Host-garrison"


async def waiting(town: Federation) -> int:
    """How many browsers the server waits for."""
    async with town.world.store.read() as connection:
        return len((await connection.execute(departures.select())).all())


@ON_EVERY_ENGINE
async def test_a_user_of_the_provider_signs_in_and_the_client_gets_tokens_after_one_question(town: Federation) -> None:
    world = town.world
    client = await world.client()
    async with world.browser() as browser:
        response = await signed_in(town, browser, client, scope="customer:read ticket:create security:read")
    assert response.headers["location"].startswith(CALLBACK)
    assert (query_of(response)["state"], query_of(response)["iss"]) == ("st&te=é", world.settings.issuer)
    tokens = (await world.token(client, world.redemption(client, query_of(response)["code"]))).json()
    token = world.read(tokens["access_token"])
    assert token.scopes == {"customer:read", "ticket:create"}, "the rule's, of what was asked for"
    assert token.subject.startswith("idp:")
    assert (await world.refresh(client, tokens["refresh_token"])).status_code == 200
    for kind in (Kind.USER_ADDED, Kind.LOGIN_SUCCEEDED, Kind.CONSENT_GIVEN):
        assert [event.subject for event in world.events.of(kind)] == [token.subject]
    assert not world.events.of(Kind.LOGIN_FAILED)


async def test_the_provider_is_asked_as_openid_connect_says(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        page = await answered(browser, await question(town.world, browser, client))
    asked = query_of_address(page)
    assert address(page).startswith(f"{town.provider.issuer}/authorize?tenant=1&"), "its own query is kept"
    assert asked["response_type"] == "code"
    assert asked["client_id"] == CLIENT_ID
    assert asked["redirect_uri"] == "https://auth.example/login/callback"
    assert set(asked["scope"].split()) == {"openid", "email", "profile"}
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == len(asked["state"]) == len(asked["nonce"]) == 43
    assert len({asked["code_challenge"], asked["state"], asked["nonce"]}) == 3


async def test_the_time_that_was_taken_to_agree_is_not_missing_at_the_provider(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        page = await question(town.world, browser, client)
        town.world.time += town.world.settings.sign_in_lifetime - 1
        asked = query_of_address(await answered(browser, page))
        town.world.time += town.world.settings.sign_in_lifetime - 1
        assert query_of(await returned(browser, town.provider.authorize(asked)))["code"]


async def test_each_departure_has_values_of_its_own(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        one, two = [await departed(town.world, browser, client) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert one[name] != two[name]


async def test_the_client_is_named_before_the_browser_leaves_and_nothing_of_the_way_exists_yet(
    town: Federation,
) -> None:
    """The confused deputy of MCP's security best practices: the provider would see us alone."""
    world = town.world
    client = await world.client(name="Support <desk>")
    async with world.browser() as browser:
        page = await question(world, browser, client)
        assert "Support &lt;desk&gt;" in page.text
        assert "app.example" in page.text
        assert "Read what is known about customers" in page.text
        assert RESOURCE in page.text
        assert urlsplit(town.provider.issuer).netloc in page.text
        assert "state=" not in page.text
        assert town.provider.issuer + "/authorize" not in page.text
        assert page.headers["content-security-policy"].endswith("; form-action 'self' https://app.example")
        assert await waiting(town) == 0
        assert town.provider.asked == []
        await answered(browser, page)
        assert await waiting(town) == 1


async def test_who_refuses_never_leaves_and_a_known_client_is_told(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        response = await answered(browser, await question(town.world, browser, client), "refuse")
    assert response.status_code == 303
    assert query_of(response)["error"] == "access_denied"
    assert await waiting(town) == 0
    assert [event.client_id for event in town.world.events.of(Kind.CONSENT_REFUSED)] == [client.client_id]


async def test_a_refusal_is_no_redirect_to_a_client_that_nobody_vouches_for(town: Federation) -> None:
    """RFC 9700 §4.11.2: nobody has signed in, so nobody is sent on without wanting it."""
    client = await town.world.client(public=True)
    async with town.world.browser() as browser:
        response = await answered(browser, await question(town.world, browser, client), "refuse")
    assert response.status_code == 200
    (link,) = Links(response.text).links
    assert link.startswith(CALLBACK + "&error=access_denied")


async def test_without_a_decision_nobody_leaves(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        page = await question(town.world, browser, client)
        for decision in ("", "refuse", "allow", "yes"):
            assert (await answered(browser, page, decision)).status_code == 303
    assert await waiting(town) == 0


async def test_the_question_is_one_browsers_about_one_request_with_one_scope(town: Federation) -> None:
    world = town.world
    client, other = await world.client(), await world.client(name="Other")
    async with world.browser() as browser, world.browser() as attacker:
        page = await question(world, browser, client)
        second = await question(world, browser, other)
        foreign = await question(world, attacker, client)
        sealed = Forms(second.text).fields("/login/provider")["request"]
        for fields in ({"csrf": ""}, {"csrf": "x" * 43}, {"request": sealed}, {"request": ""}):
            assert (await answered(browser, page, **fields)).status_code == 400
        assert (await answered(browser, foreign)).status_code == 400
        browser.cookies.clear()
        assert (await answered(browser, page)).status_code == 400
    assert await waiting(town) == 0


async def test_what_is_agreed_to_is_what_was_on_the_page(town: Federation) -> None:
    """The operator has taken a scope away from the client since the page was shown."""
    wide = "customer:read ticket:create"
    client = await town.world.client(scope=wide)
    async with town.world.browser() as browser:
        page = await question(town.world, browser, client, scope=wide)
        async with town.world.store.write() as connection:
            await connection.exec_driver_sql("UPDATE clients SET scope = 'customer:read'")
        assert (await answered(browser, page)).status_code == 400


async def test_would_more_be_granted_than_was_agreed_to_the_user_is_asked_again(town: Federation) -> None:
    client = await town.world.client(scope="customer:read")
    async with town.world.browser() as browser:
        asked = await departed(town.world, browser, client, scope="customer:read")
        async with town.world.store.write() as connection:
            await connection.exec_driver_sql("UPDATE departures SET agreed = 'ticket:create'")
        response = await returned(browser, town.provider.authorize(asked))
        assert response.headers["location"].startswith("/consent?request=")
        assert (await browser.get(response.headers["location"])).status_code == 200
    assert not town.world.events.of(Kind.CONSENT_GIVEN)


async def test_a_signed_in_user_is_asked_by_the_usual_page_and_stays_here(town: Federation) -> None:
    client, other = await town.world.client(), await town.world.client(name="Other")
    async with town.world.browser() as browser:
        await signed_in(town, browser, client)
        response = await browser.get("/authorize", params=town.world.authorization(other))
        page = await browser.get(response.headers["location"])
        assert query_of(await town.world.decide(browser, page))["code"]
    assert town.provider.asked.count("/token") == 1


async def test_the_cookie_is_host_bound_and_changes_with_the_sign_in(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        page = await question(town.world, browser, client)
        before = browser.cookies[COOKIE]
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= {
            part.strip().lower() for part in page.headers["set-cookie"].split(";")
        }
        asked = query_of_address(await answered(browser, page))
        await returned(browser, town.provider.authorize(asked))
        assert browser.cookies[COOKIE] != before


async def test_a_person_signs_in_to_their_own_page_too(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        await signed_in(town, browser, client)
        browser.cookies.clear()
        response = await browser.get("/account/grants")
        for _ in range(2):
            response = await browser.get(response.headers["location"])
        asked = query_of_address(await answered(browser, response))
        response = await returned(browser, town.provider.authorize(asked))
        assert response.headers["location"] == "/account/grants"
        assert "Support desk" in (await browser.get("/account/grants")).text


async def test_an_error_for_a_client_that_nobody_vouches_for_waits_for_the_sign_in(town: Federation) -> None:
    client = await town.world.client(public=True)
    async with town.world.browser() as browser:
        page = await question(town.world, browser, client, code_challenge="short")
        assert "It could, as you" not in page.text
        asked = query_of_address(await answered(browser, page))
        response = await returned(browser, town.provider.authorize(asked))
    assert query_of(response)["error"] == "invalid_request"


@pytest.mark.parametrize("changes", [{"code_challenge": "short"}, {"scope": "security:read"}])
async def test_18_an_error_is_no_redirect_to_a_client_that_registered_itself_after_the_sign_in_either(
    town: Federation, changes: dict[str, str]
) -> None:
    client = await town.world.client(public=True, scope="customer:read security:read")
    await save_client(town.world.store, replace(client.client, client_id="client_x", source="registration"), None)
    async with town.world.browser() as browser:
        page = await question(town.world, browser, client, client_id="client_x", **changes)
        asked = query_of_address(await answered(browser, page))
        response = await returned(browser, town.provider.authorize(asked))
    assert (response.status_code, response.headers.get("location")) == (400, None)
    assert any(link.startswith(f"{CALLBACK}&error=") for link in Links(response.text).links)


async def test_signing_out_ends_the_session_here_and_shows_the_way_to_end_it_there(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        code = query_of(await signed_in(town, browser, client))["code"]
        tokens = (await town.world.token(client, town.world.redemption(client, code))).json()
        csrf = Forms((await browser.get("/logout")).text).fields("/logout")
        page = await browser.get((await browser.post("/logout", data=csrf)).headers["location"])
        (link,) = Links(page.text).links
        assert link == f"{town.provider.issuer}/end?client_id=garrison+at+the+provider"
        assert (await browser.get("/account/grants")).headers["location"] == "/login"
    assert (await town.world.refresh(client, tokens["refresh_token"])).status_code == 400


async def test_another_account_can_be_chosen_though_the_provider_remembers_one(town: Federation) -> None:
    client, other = await town.world.client(), await town.world.client(name="Other")
    async with town.world.browser() as browser:
        await signed_in(town, browser, client)
        consent = await town.world.consent_page(browser, other)
        response = await browser.post("/logout", data=Forms(consent.text).fields("/logout"))
        for _ in range(2):
            response = await browser.get(response.headers["location"])
        assert query_of_address(await answered(browser, response))["prompt"] == "login"


async def test_another_account_can_be_chosen_where_local_users_sign_in_too(make_world: Make) -> None:
    """After a sign-out by the page of that, after a refusal by the page that says so."""
    async with federation(make_world, local_users=True) as town, town.world.browser() as browser:
        town.provider.now = town.world.now
        client = await town.world.client()
        response = await browser.get("/authorize", params=town.world.authorization(client))
        for _ in range(2):
            response = await browser.get(response.headers["location"])
        (_, straight_on) = Links(response.text).links
        town.provider.claims["eve-sub"] = {**CLAIMS, "groups": []}
        asked = query_of_address(await answered(browser, await browser.get(straight_on)))
        assert "prompt" not in asked
        refused = await returned(browser, town.provider.authorize(asked, "eve-sub"))
        (other,) = Links(refused.text).links
        asked = query_of_address(await answered(browser, await browser.get(other)))
        assert asked["prompt"] == "login"
        await returned(browser, town.provider.authorize(asked))
        consent = await town.world.consent_page(browser, client, prompt="consent")
        response = await browser.post("/logout", data=Forms(consent.text).fields("/logout"))
        page = await browser.get(response.headers["location"])
        assert (
            query_of_address(await answered(browser, await browser.get(Links(page.text).links[-1])))["prompt"]
            == "login"
        )


async def test_an_application_must_send_its_user_to_the_provider_now_and_then(town: Federation) -> None:
    """Else who has left there would go on here for as long as a grant can live."""
    client = await town.world.client()
    async with town.world.browser() as browser:
        code = query_of(await signed_in(town, browser, client))["code"]
    tokens = (await town.world.token(client, town.world.redemption(client, code))).json()
    town.world.time += 7 * 86_400 - 1
    tokens = (await town.world.refresh(client, tokens["refresh_token"])).json()
    town.world.time += 1
    assert (await town.world.refresh(client, tokens["refresh_token"])).status_code == 400


async def test_without_local_users_no_password_is_read_and_what_they_had_is_worth_nothing(town: Federation) -> None:
    world = town.world
    await world.user()
    client = await world.client()
    with_both = await world.another_app(identity_provider=None)
    async with world.browser(with_both) as browser:
        page = await world.consent_page(browser, client)
        code = query_of(await world.decide(browser, page))["code"]
        cookie = browser.cookies[COOKIE]
        form = await browser.get("/login")
    tokens = (await world.token(client, world.redemption(client, code), with_both)).json()
    assert (await world.refresh(client, tokens["refresh_token"])).json()["error"] == "invalid_scope"
    async with world.browser() as browser:
        browser.cookies.set(COOKIE, cookie)
        assert (await browser.get("/account/grants")).headers["location"] == "/login"
        assert form.status_code == 303, "signed in"
        fields = {"csrf": "x", "username": "alice", "password": PASSWORD}
        assert (await browser.post("/login", data=fields)).status_code == 403


async def test_without_a_provider_its_users_have_nothing(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        code = query_of(await signed_in(town, browser, client))["code"]
        cookie = browser.cookies[COOKIE]
    tokens = (await town.world.token(client, town.world.redemption(client, code))).json()
    without = await town.world.another_app(identity_provider=None)
    async with town.world.browser(without) as browser:
        browser.cookies.set(COOKIE, cookie)
        assert (await browser.get("/account/grants")).headers["location"] == "/login"
        assert (await browser.get("/login/provider")).status_code == 404
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await town.world.token(client, form, without)).json()["error"] == "invalid_scope"


async def test_an_external_user_has_no_password_that_could_be_guessed_or_set(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        await signed_in(town, browser, client)
    (username,) = [user.username for user in await admin.list_users(town.world.store)]
    both = await town.world.another_app(identity_provider=settings(town.provider.issuer, local_users=True))
    async with town.world.browser(both) as browser:
        page = await browser.get("/login")
        assert "/login/provider" in Links(page.text).links
        for password in ("", "password"):
            fields = {**Forms(page.text).fields("/login"), "username": username, "password": password}
            assert (await browser.post("/login", data=fields)).status_code == 403
    with pytest.raises(UsageError, match="no password here"):
        await admin.set_password(town.world.store, username, PASSWORD)
    with pytest.raises(UsageError, match="claims decide"):
        await admin.set_user_scope(town.world.store, username, "security:read")


async def test_an_external_user_gets_no_way_in_beside_the_provider(town: Federation) -> None:
    """A passkey or a code of their own would outlast their account there."""
    both = await town.world.another_app(identity_provider=settings(town.provider.issuer, local_users=True))
    async with town.world.browser(both) as browser:
        location = (await browser.get("/account/grants")).headers["location"]
        page = await browser.get(
            next(link for link in Links((await browser.get(location)).text).links if "provider" in link)
        )
        asked = query_of_address(await answered(browser, page))
        await returned(browser, town.provider.authorize(asked))
        methods = (await browser.get("/account/sign-in")).text
        assert "You sign in at <strong>" in methods
        assert "/account/confirm" not in methods
        for do in ("add-passkey", "add-app"):
            assert (await browser.get("/account/confirm", params={"do": do})).status_code == 403
            fields = {"do": do, "csrf": "x", "proof": "the password of no user"}
            assert (await browser.post("/account/confirm", data=fields)).status_code == 403


async def test_without_local_users_there_are_no_passkeys(town: Federation) -> None:
    async with town.world.browser() as browser:
        for path in ("/passkey", "/account/passkey"):
            assert (await browser.get(path)).status_code == 404


async def test_who_has_no_password_has_none_whatever_is_typed() -> None:
    passwords = Passwords(CHEAP)
    for password in ("", "the password of no user"):
        assert not await passwords.verify(password, "")
        assert not await passwords.verify(password, None)
