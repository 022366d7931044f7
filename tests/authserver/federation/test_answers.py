"""What comes back from a provider is judged: an answer to another browser, request or client signs nobody in."""

import asyncio
from typing import Any

from garrison.authserver.federation.errors import RETRY_AFTER
from garrison.base.events import Kind
from garrison.oauth import jwks, signed_jwt
from tests.authserver.federation.provider import (
    KEY,
    Federation,
    Links,
    answered,
    departed,
    dumped,
    query_of_address,
    question,
    returned,
    settings,
    signed_in,
)
from tests.authserver.world import CALLBACK, query_of

OTHER = "https://other.example"


def reasons(town: Federation) -> list[str]:
    return [event.reason for event in town.world.events.of(Kind.LOGIN_FAILED)]


def nobody_signed_in(town: Federation) -> bool:
    return not town.world.events.of(Kind.LOGIN_SUCCEEDED) and not town.world.events.of(Kind.CONSENT_GIVEN)


async def test_an_answer_counts_in_the_browser_that_left_and_there_once(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as victim, town.world.browser() as attacker:
        asked = await departed(town.world, attacker, client)
        answer = town.provider.authorize(asked)
        await departed(town.world, victim, client)
        assert (await returned(victim, answer)).status_code == 400, "the attacker's, in the victim's browser"
        for state in ({"state": "x" * 43}, {"state": ""}):
            assert (await returned(attacker, {**answer, **state})).status_code == 400
        kept = attacker.cookies["__Host-garrison"]
        attacker.cookies.clear()
        assert (await returned(attacker, answer)).status_code == 400
        assert nobody_signed_in(town)
        assert len(reasons(town)) == 3
        attacker.cookies.set("__Host-garrison", kept)
        assert (await returned(attacker, answer)).status_code == 303
        replayed = town.provider.authorize(asked)
        assert (await returned(attacker, replayed)).status_code == 400
        attacker.cookies.set("__Host-garrison", kept)
        assert (await returned(attacker, replayed)).status_code == 400
    assert len(town.world.events.of(Kind.LOGIN_SUCCEEDED)) == 1


async def test_of_two_answers_with_one_state_at_once_one_counts(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        asked = await departed(town.world, browser, client)
        answers = [town.provider.authorize(asked) for _ in range(4)]
        responses = await asyncio.gather(*(returned(browser, answer) for answer in answers))
    assert sorted(response.status_code for response in responses) == [303, 400, 400, 400]


async def test_an_answer_that_took_too_long_is_refused(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        answer = town.provider.authorize(await departed(town.world, browser, client))
        town.world.time += town.world.settings.sign_in_lifetime
        assert (await returned(browser, answer)).status_code == 400
    assert nobody_signed_in(town)


async def test_an_answer_of_another_issuer_is_a_mix_up_errors_included(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        for changes in ({"iss": OTHER}, {"iss": town.provider.issuer + "/"}, {"iss": ""}):
            answer = town.provider.authorize(await departed(town.world, browser, client))
            assert (await returned(browser, {**answer, **changes})).status_code == 502
        state = (await departed(town.world, browser, client))["state"]
        response = await returned(browser, {"error": "access_denied", "state": state, "iss": OTHER})
        assert response.status_code == 502
    assert nobody_signed_in(town)
    assert "/token" not in town.provider.asked
    assert [reason.rpartition("(")[2] for reason in reasons(town)[:2]] == ["iss)"] * 2


async def test_iss_is_checked_where_it_is_not_promised_too(town: Federation) -> None:
    town.provider.metadata = {"authorization_response_iss_parameter_supported": None}
    client = await town.world.client()
    async with town.world.browser() as browser:
        answer = town.provider.authorize(await departed(town.world, browser, client))
        assert (await returned(browser, {**answer, "iss": OTHER})).status_code == 502
        answer = town.provider.authorize(await departed(town.world, browser, client))
        assert (await returned(browser, {**answer, "iss": ""})).status_code == 303


async def test_a_repeated_parameter_is_refused_and_leaves_the_sign_in_as_it_was(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        answer = town.provider.authorize(await departed(town.world, browser, client))
        assert (await browser.get("/login/callback", params=[*answer.items(), ("code", "x")])).status_code == 400
        assert (await browser.get("/login/callback", params={**answer, "x": "x" * 8192})).status_code == 400
        assert (await returned(browser, answer)).status_code == 303


async def test_an_error_of_the_provider_is_a_page_and_never_a_redirect(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        for error, status in (("access_denied", 403), ("<script>", 403), ("server_error", 503)):
            state = (await departed(town.world, browser, client))["state"]
            answer = {
                "error": error,
                "error_description": "<b>call us</b>",
                "state": state,
                "iss": town.provider.issuer,
            }
            response = await returned(browser, answer)
            assert response.status_code == status
            assert "location" not in response.headers
            assert "call us" not in response.text
            assert "script" not in response.text
            assert Links(response.text).links[0].startswith("/login/provider?request=")
            assert not Links(response.text).refresh
        state = (await departed(town.world, browser, client))["state"]
        assert (await returned(browser, {"state": state, "iss": town.provider.issuer})).status_code == 502
    assert reasons(town)[-1] == "the answer has no code"
    assert nobody_signed_in(town)
    assert reasons(town)[:2] == ["the provider answered access_denied", "the provider answered an error"]


async def test_a_code_that_was_meant_for_another_departure_is_worth_nothing(town: Federation) -> None:
    """Code injection: PKCE makes an honest provider refuse it; where none is checked, the nonce gives it away."""
    client = await town.world.client()
    for checks_pkce, reason in ((True, "invalid_grant"), (False, "nonce")):
        town.provider.checks_pkce = checks_pkce
        async with town.world.browser() as victim, town.world.browser() as attacker:
            stolen = town.provider.authorize(await departed(town.world, victim, client))["code"]
            own = town.provider.authorize(await departed(town.world, attacker, client))
            response = await returned(attacker, {**own, "code": stolen})
        assert response.status_code == 502
        assert reason in reasons(town)[-1]
        assert "s3cret" not in response.text + reasons(town)[-1]
    assert nobody_signed_in(town)


BAD_TOKENS: dict[str, tuple[dict[str, Any], Any]] = {
    "algorithm": ({}, lambda claims: f"{dumped({'alg': 'none', 'kid': KEY.kid})}.{dumped(claims)}."),
    "signature": ({}, lambda claims: signed_jwt.sign(_named_as_ours(jwks.new_signing_key("ES256")), claims, typ="JWT")),
    "key is not known": ({}, lambda claims: signed_jwt.sign(jwks.new_signing_key("ES256"), claims, typ="JWT")),
    "malformed": ({}, lambda claims: "x"),
    "issuer": ({"iss": OTHER}, None),
    "aud": ({"aud": "another client"}, None),
    "nonce": ({"nonce": "x" * 43}, None),
    "expired": ({"exp": 1_800_000_000 - 31}, None),
}


def _named_as_ours(key: jwks.SigningKey) -> jwks.SigningKey:
    return jwks.SigningKey(KEY.kid, key.private, key.alg)


async def test_an_id_token_that_is_no_good_signs_nobody_in(town: Federation) -> None:
    """What else is wrong with one: tests/oauth/test_id_token.py."""
    client = await town.world.client()
    honest = town.provider.sign
    async with town.world.browser() as browser:
        for reason, (changes, sign) in BAD_TOKENS.items():
            town.provider.id_claims, town.provider.sign = changes, sign or honest
            response = await signed_in(town, browser, client)
            assert response.status_code == 502, reason
            assert reasons(town)[-1].startswith("ID token: ")
            assert reason in reasons(town)[-1]
        assert nobody_signed_in(town)
        town.provider.id_claims, town.provider.sign = {}, honest
        assert (await signed_in(town, browser, client)).status_code == 303


async def test_what_is_only_in_userinfo_is_fetched_and_must_be_about_the_same_person(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        await signed_in(town, browser, client)
        assert "/me" not in town.provider.asked, "all that decides was in the ID token"
    town.provider.in_userinfo = frozenset({"groups"})
    async with town.world.browser() as browser:
        assert (await signed_in(town, browser, client)).status_code == 303
        assert town.provider.asked.count("/me") == 1
    async with town.world.browser() as browser:
        for changes in ({"sub": "bob-sub"}, {"sub": None}):
            town.provider.userinfo = changes
            response = await signed_in(town, browser, client)
            assert (response.status_code, reasons(town)[-1]) == (502, "userinfo is about somebody else (sub)")
        town.provider.userinfo, town.provider.userinfo_status = {}, 403
        assert (await signed_in(town, browser, client)).status_code == 502
        assert reasons(town)[-1] == "userinfo answered 403"
        town.provider.userinfo_status = 200
        town.provider.userinfo, town.provider.in_userinfo = {"email": "root@example.com"}, frozenset({"groups"})
        assert (await signed_in(town, browser, client)).status_code == 303


async def test_an_access_token_of_another_type_is_no_sign_in(town: Federation) -> None:
    client = await town.world.client()
    town.provider.token_type = "mac"
    async with town.world.browser() as browser:
        assert (await signed_in(town, browser, client)).status_code == 502
    assert nobody_signed_in(town)


async def test_the_id_token_has_the_last_word(town: Federation) -> None:
    """It is signed, and for us."""
    town.provider.claims["alice-sub"] = {"groups": ["chess"]}
    town.provider.userinfo = {"groups": ["support"], "preferred_username": "alice"}
    client = await town.world.client()
    wanted = settings(town.provider.issuer, username_claim="preferred_username")
    async with town.world.browser(await town.world.another_app(identity_provider=wanted)) as browser:
        assert (await signed_in(town, browser, client)).status_code == 403
    assert "/me" in town.provider.asked


METADATA: list[dict[str, Any]] = [
    {"issuer": OTHER},
    {"issuer": None},
    {"authorization_endpoint": None},
    {"authorization_endpoint": "javascript:alert(1)"},
    {"authorization_endpoint": "http://evil.example/"},
    {"token_endpoint": "file:///etc/passwd"},
    {"jwks_uri": None},
    {"userinfo_endpoint": "ftp://x/"},
    {"end_session_endpoint": "javascript:alert(1)"},
    {"token_endpoint": 7},
]


async def test_metadata_that_can_not_be_believed_sends_nobody_anywhere(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        for changes in METADATA:
            town.provider.metadata = changes
            town.world.time += RETRY_AFTER
            response = await answered(browser, await question(town.world, browser, client))
            assert response.status_code == 503, changes
            assert not Links(response.text).refresh


async def test_a_provider_that_is_down_is_a_503_with_a_way_to_try_again(town: Federation) -> None:
    client = await town.world.client()
    town.provider.broken = frozenset({"/.well-known/openid-configuration"})
    async with town.world.browser() as browser:
        page = await question(town.world, browser, client)
        down = [await answered(browser, page) for _ in range(3)]
        assert {response.status_code for response in down} == {503}
        assert down[0].headers["retry-after"] == str(RETRY_AFTER)
        assert len(town.provider.asked) == 1, "strangers do not make us ask more often"
        town.provider.broken = frozenset()
        town.world.time += RETRY_AFTER
        response = await browser.get(Links(down[0].text).links[0])
        again = await answered(browser, response)
        for path in ("/token", "/jwks"):
            town.provider.broken = frozenset({path})
            response = await returned(browser, town.provider.authorize(query_of_address(again)))
            assert response.status_code == 503, path
            assert Links(response.text).links[0].startswith("/login/provider?request=")
            again = await answered(browser, await question(town.world, browser, client))
        town.provider.broken = frozenset()
        town.world.time += RETRY_AFTER
        again = await answered(browser, await question(town.world, browser, client))
        response = await returned(browser, town.provider.authorize(query_of_address(again)))
    assert query_of(response)["code"]
    assert response.headers["location"].startswith(CALLBACK)
    assert len(town.world.events.of(Kind.LOGIN_SUCCEEDED)) == 1


async def test_an_address_that_only_ever_leaves_is_slowed_down(town: Federation) -> None:
    client = await town.world.client()
    strict = await town.world.another_app(free_failures_per_address=2)
    async with town.world.browser(strict) as browser:
        page = await question(town.world, browser, client)
        assert [(await answered(browser, page)).status_code for _ in range(4)] == [200, 200, 200, 429]
    async with town.world.browser(strict, address="203.0.113.8") as elsewhere:
        for _ in range(4):
            elsewhere.cookies.clear()
            assert (await signed_in(town, elsewhere, client)).status_code == 303


async def test_we_prove_who_we_are_in_the_way_that_the_provider_names(town: Federation) -> None:
    client = await town.world.client()
    async with town.world.browser() as browser:
        for methods in (
            ["none", "client_secret_basic", "client_secret_post"],
            ["client_secret_post"],
            ["private_key_jwt"],
        ):
            town.world.time += 300
            town.provider.metadata = {"token_endpoint_auth_methods_supported": methods}
            browser.cookies.clear()
            assert (await signed_in(town, browser, client)).status_code == 303, methods
    assert town.provider.methods == ["client_secret_basic", "client_secret_post", "client_secret_basic"]


async def test_the_fetcher_that_the_server_makes_itself_goes_into_no_private_network_unless_told(
    town: Federation,
) -> None:
    inside = "https://10.1.2.3"
    assert settings(inside, private_addresses=True).may_be_private
    assert settings("http://localhost:1").may_be_private
    client = await town.world.client()
    strict = await town.world.another_app(identity_provider=settings(inside), provider_fetcher=None)
    async with town.world.browser(strict) as browser:
        response = await answered(browser, await question(town.world, browser, client))
    assert response.status_code == 503
    assert "special-use" in reasons(town)[-1]
