"""Statements 5 to 18: the authorization request."""

from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest

from garrison.authserver import admin
from garrison.authserver.stores.clients import save_client
from garrison.base.errors import UsageError
from garrison.base.events import Kind
from tests.authserver.world import CALLBACK, ISSUER, RESOURCE, SCOPES, Make, World, query_of


async def authorize(world: World, client: admin.NewClient, **changes: str | None) -> httpx2.Response:
    async with world.browser() as browser:
        return await browser.get("/authorize", params=world.authorization(client, **changes))


def is_error_page(response: httpx2.Response) -> bool:
    return (
        response.status_code == 400
        and "location" not in response.headers
        and response.headers["content-type"].startswith("text/html")
    )


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "client_unknown"},
        {"client_id": None},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "/callback"},
        {"redirect_uri": "https://app.example/callback?kept=1\r\nX: y"},
    ],
)
async def test_05_a_bad_client_or_redirect_uri_gets_an_error_page_never_a_redirect(
    world: World, change: dict[str, str | None]
) -> None:
    response = await authorize(world, await world.client(), **change)
    assert is_error_page(response)
    assert "evil.example" not in response.text
    assert world.events.of(Kind.CLIENT_REFUSED)


async def test_05_a_disabled_client_gets_an_error_page(world: World) -> None:
    client = await world.client()
    await admin.disable_client(world.store, client.client_id)
    assert is_error_page(await authorize(world, client))


async def test_05_the_query_is_never_reflected_as_markup(world: World) -> None:
    response = await authorize(world, await world.client(), client_id="<script>alert(1)</script>")
    assert is_error_page(response)
    assert "<script" not in response.text


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_05_a_repeated_client_or_redirect_uri_gets_an_error_page(world: World, name: str) -> None:
    parameters = world.authorization(await world.client())
    for value in (parameters[name], "https://evil.example/"):
        async with world.browser() as browser:
            response = await browser.get(f"/authorize?{urlencode(parameters)}&{urlencode({name: value})}")
        assert is_error_page(response)


@pytest.mark.parametrize(
    "other",
    [
        "https://app.example/callback",
        "https://app.example/callback?kept=1&more=1",
        "https://app.example/callback?kept=1/",
        "https://app.example/callback?kept=1#",
        "https://app.example/CALLBACK?kept=1",
        "https://APP.example/callback?kept=1",
        "https://app.example:443/callback?kept=1",
        "https://app.example/x/../callback?kept=1",
        "https://app.example/%63allback?kept=1",
        "https://app.example.evil.example/callback?kept=1",
        "https://app.example@evil.example/callback?kept=1",
        "http://app.example/callback?kept=1",
    ],
)
async def test_06_redirect_uri_is_compared_byte_for_byte(world: World, other: str) -> None:
    assert is_error_page(await authorize(world, await world.client(), redirect_uri=other))


async def test_06_redirect_uri_may_be_left_out_only_if_one_is_registered(world: World) -> None:
    one = await world.client()
    two = await world.client(redirect_uris=[CALLBACK, "https://app.example/other"])
    assert (await authorize(world, one, redirect_uri=None)).status_code == 303
    assert is_error_page(await authorize(world, two, redirect_uri=None))


REGISTERED = ["http://127.0.0.1/cb", "http://[::1]/cb", "http://localhost/cb", "https://127.0.0.1/tls"]
REGISTERED += ["https://app.example/"]


@pytest.mark.parametrize(
    ("asked", "right"),
    [
        ("http://127.0.0.1:51234/cb", True),
        ("http://127.0.0.1/cb", True),
        ("http://[::1]:51234/cb", True),
        ("http://127.0.0.1:51234/other", False),
        ("http://127.0.0.1:51234/cb?x=1", False),
        ("http://127.0.0.2:51234/cb", False),
        ("https://127.0.0.1:51234/cb", False),
        ("http://user@127.0.0.1:51234/cb", False),
        ("http://127.0.0.1:51234/c\tb", False),
        ("http://localhost:51234/cb", False),
        ("https://127.0.0.1/tls", True),
        ("https://127.0.0.1:51234/tls", False),
        ("https://app.example:51234/", False),
    ],
)
async def test_07_on_a_loopback_ip_only_the_port_may_vary(world: World, asked: str, right: bool) -> None:
    client = await world.client(redirect_uris=REGISTERED)
    response = await authorize(world, client, redirect_uri=asked)
    assert response.status_code == 303 if right else is_error_page(response)


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "myapp:/cb",
        "https://app.example/cb#fragment",
        "https://user@app.example/cb",
        "https://*.example/cb",
        "/cb",
        "https://app.example/a b",
        "https://app.example/*",
        "https://app(.example/cb",
        "com.example.app:cb",
        "com.example.app://cb",
    ],
)
async def test_08_only_https_loopback_and_reverse_domain_schemes_can_be_registered(world: World, uri: str) -> None:
    with pytest.raises(UsageError):
        await world.client(redirect_uris=[uri])


@pytest.mark.parametrize("public", [False, True])
async def test_09_without_code_challenge_it_is_invalid_request_for_confidential_clients_too(
    world: World, public: bool
) -> None:
    await world.user()
    client = await world.client(public=public)
    async with world.browser() as browser:
        response = await browser.get("/authorize", params=world.authorization(client, code_challenge=None))
        if public:
            response = await browser.get(response.headers["location"])
            response = await world.sign_in(browser, response.headers["location"])
            response = await browser.get(response.headers["location"])
    assert query_of(response)["error"] == "invalid_request"


@pytest.mark.parametrize("method", ["plain", None, "s256", "S512"])
async def test_10_plain_or_an_absent_method_is_rejected(world: World, method: str | None) -> None:
    response = await authorize(world, await world.client(), code_challenge_method=method)
    assert query_of(response)["error"] == "invalid_request"


@pytest.mark.parametrize("challenge", ["x" * 42, "x" * 44, "x" * 42 + "=", "x" * 42 + "+", "x" * 42 + "é", "abc"])
async def test_11_the_challenge_is_43_base64url_characters(world: World, challenge: str) -> None:
    response = await authorize(world, await world.client(), code_challenge=challenge)
    assert query_of(response)["error"] == "invalid_request"


@pytest.mark.parametrize("name", ["state", "scope", "resource", "code_challenge", "response_type", "unknown"])
async def test_12_repeated_parameters_are_rejected(world: World, name: str) -> None:
    parameters = {"unknown": "1", **world.authorization(await world.client())}
    async with world.browser() as browser:
        response = await browser.get(f"/authorize?{urlencode(parameters)}&{urlencode({name: parameters[name]})}")
    answer = query_of(response)
    assert answer["error"] == "invalid_request"
    assert ("state" in answer) == (name != "state")


async def test_12_unknown_parameters_are_ignored_and_empty_ones_count_as_absent(world: World) -> None:
    response = await authorize(world, await world.client(), nonce="n", display="page", resource="", scope="")
    assert response.headers["location"].startswith("/consent?")


@pytest.mark.parametrize(
    ("response_type", "error"),
    [
        ("token", "unsupported_response_type"),
        ("code id_token", "unsupported_response_type"),
        ("none", "unsupported_response_type"),
        (None, "invalid_request"),
    ],
)
async def test_13_any_response_type_but_code_is_refused(world: World, response_type: str | None, error: str) -> None:
    assert query_of(await authorize(world, await world.client(), response_type=response_type))["error"] == error


@pytest.mark.parametrize("mode", ["fragment", "form_post", "web_message"])
async def test_13_any_response_mode_but_query_is_refused(world: World, mode: str) -> None:
    assert query_of(await authorize(world, await world.client(), response_mode=mode))["error"] == "invalid_request"


@pytest.mark.parametrize(
    "resource", ["https://other.example/mcp", f"{RESOURCE}/x", f"{RESOURCE}#", "mcp", f"{RESOURCE}//"]
)
async def test_14_an_unknown_resource_is_invalid_target(world: World, resource: str) -> None:
    assert query_of(await authorize(world, await world.client(), resource=resource))["error"] == "invalid_target"


async def test_14_without_resource_the_only_one_is_meant_and_of_several_none(make_world: Make) -> None:
    world = await make_world(resources={RESOURCE: SCOPES, "https://two.example": SCOPES})
    several, one = await world.client(), await world.client(resources=[f"{RESOURCE}/"])
    assert query_of(await authorize(world, several, resource=None))["error"] == "invalid_target"
    assert (await authorize(world, one, resource=None)).headers["location"].startswith("/consent?")
    assert query_of(await authorize(world, one, resource="https://two.example"))["error"] == "invalid_target"


async def test_15_scope_that_client_or_resource_lacks_is_not_granted(make_world: Make) -> None:
    world = await make_world(resources={RESOURCE: {"customer:read", "security:read"}})
    await world.user(scope="customer:read ticket:create security:read admin:all")
    client = await world.client(scope="customer:read ticket:create admin:all")
    everything = "customer:read ticket:create security:read admin:all"
    assert (await world.tokens(client, scope=everything))["scope"] == "customer:read"
    assert query_of(await authorize(world, client, scope="security:read"))["error"] == "invalid_scope"
    assert query_of(await authorize(world, client, scope="admin:all"))["error"] == "invalid_scope"
    assert query_of(await authorize(world, client, scope='no"scope'))["error"] == "invalid_scope"


async def test_15_scope_that_the_user_lacks_is_not_granted(world: World) -> None:
    await world.user(scope="customer:read")
    client = await world.client()
    assert (await world.tokens(client, scope="customer:read ticket:create"))["scope"] == "customer:read"
    async with world.browser() as browser:
        response = await world.consent_page(browser, client, scope="ticket:create")
    assert query_of(response)["error"] == "access_denied"


async def test_15_without_scope_all_that_may_be_had_is_offered(world: World) -> None:
    await world.user()
    assert (await world.tokens(await world.client(), scope=None))["scope"] == "customer:read ticket:create"


@pytest.mark.parametrize("state", ["a&b=c#d%20+é ☃", "x" * 2000])
async def test_16_state_comes_back_unchanged_and_the_redirect_uris_own_query_is_kept(world: World, state: str) -> None:
    await world.user()
    client = await world.client()
    refused = await authorize(world, client, response_type="token", state=state)
    async with world.browser() as browser:
        granted = await world.decide(browser, await world.consent_page(browser, client, state=state))
    for response in (refused, granted):
        assert response.headers["location"].startswith(f"{CALLBACK}&")
        pairs = parse_qsl(urlsplit(response.headers["location"]).query)
        assert pairs[0] == ("kept", "1")
        assert ("state", state) in pairs


async def test_17_iss_comes_on_success_and_on_error(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        page = await world.consent_page(browser, client)
        for response in (
            await world.decide(browser, page),
            await world.decide(browser, page, decision="refuse"),
            await authorize(world, client, response_type="token"),
        ):
            assert query_of(response)["iss"] == ISSUER


async def test_18_for_a_client_that_nobody_vouches_for_the_user_signs_in_before_any_error_redirect(
    world: World,
) -> None:
    await world.user()
    client = await world.client(public=True)
    async with world.browser() as browser:
        response = await browser.get("/authorize", params=world.authorization(client, response_type="token"))
        assert response.headers["location"].startswith("/consent?")
        response = await browser.get(response.headers["location"])
        assert response.headers["location"].startswith("/login?")
        response = await world.sign_in(browser, response.headers["location"])
        response = await browser.get(response.headers["location"])
    assert response.headers["location"].startswith(CALLBACK)
    assert query_of(response)["error"] == "unsupported_response_type"


async def test_a_client_without_the_grant_can_not_authorize(world: World) -> None:
    await world.user()
    client = await world.client()
    narrower = replace(client.client, client_id="client_x", grants=frozenset({"client_credentials"}))
    await save_client(world.store, narrower, None)
    response = await authorize(world, client, client_id="client_x")
    assert query_of(response)["error"] == "unauthorized_client"


async def test_an_authorization_request_may_be_posted(world: World) -> None:
    async with world.browser() as browser:
        response = await browser.post("/authorize", data=world.authorization(await world.client()))
    assert response.status_code == 303
    assert response.headers["location"].startswith("/consent?")


async def test_a_request_that_is_too_long_or_not_utf8_gets_an_error_page(world: World) -> None:
    client = await world.client()
    assert is_error_page(await authorize(world, client, state="x" * 9000))
    async with world.browser() as browser:
        assert is_error_page(await browser.get(f"/authorize?client_id={client.client_id}&state=%ff"))
