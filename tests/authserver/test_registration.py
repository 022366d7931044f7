"""Statements 8, 23 and 47: clients that register themselves (RFC 7591)."""

import json
import re
from typing import Any

import httpx2
import pytest

from garrison.authserver import admin, granting
from garrison.authserver.stores.clients import all_clients, find_client
from garrison.authserver.stores.purge import UNUSED_KEPT, purge
from garrison.base.errors import UsageError
from garrison.base.events import Kind
from garrison.oauth import jwks
from tests.authserver.world import ISSUER, ON_EVERY_ENGINE, RESOURCE, Make, World, query_of

KEY = jwks.new_signing_key("ES256")
TOKEN = "t" * 32
GOOD = {
    "client_name": "Notebook",
    "redirect_uris": ["https://app.example/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "scope": "customer:read",
}


@pytest.fixture
async def open_world(make_world: Make) -> World:
    return await make_world(registration=True)


async def register(world: World, address: str = "203.0.113.7", **changes: Any) -> httpx2.Response:
    metadata = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    async with world.browser(address=address) as http:
        return await http.post("/register", json=metadata)


async def registered(world: World, **changes: Any) -> admin.NewClient:
    response = await register(world, **changes)
    assert response.status_code == 201, response.text
    body = response.json()
    found = await find_client(world.store, body["client_id"])
    assert found
    return admin.NewClient(body["client_id"], body.get("client_secret"), found[0])


async def test_47_registration_is_off_by_default_and_then_not_advertised(world: World, make_world: Make) -> None:
    assert (await register(world)).status_code == 404
    assert await all_clients(world.store) == []
    for on in (False, True):
        async with world.browser(await world.another_app(registration=on)) as http:
            metadata = (await http.get("/.well-known/oauth-authorization-server")).json()
        assert metadata.get("registration_endpoint") == (f"{ISSUER}/register" if on else None)


async def test_47_a_client_is_told_how_it_was_registered(open_world: World) -> None:
    response = await register(open_world, logo_uri="https://app.example/logo.png", unknown=1)
    body = response.json()
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    assert body == {
        **GOOD,
        "client_id": body["client_id"],
        "client_id_issued_at": int(open_world.time),
        "token_endpoint_auth_method": "client_secret_basic",
        "client_secret": body["client_secret"],
        "client_secret_expires_at": 0,
    }
    assert not body["client_id"].startswith("https://")
    assert [event.client_id for event in open_world.events.of(Kind.CLIENT_ADDED)] == [body["client_id"]]


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
@ON_EVERY_ENGINE
async def test_47_a_registered_client_gets_tokens_for_a_user(open_world: World, method: str) -> None:
    await open_world.user()
    client = await registered(open_world, token_endpoint_auth_method=method)
    assert (client.client_secret is None) == (method == "none")
    body = await open_world.tokens(client)
    assert open_world.read(body["access_token"]).subject == "alice"


@ON_EVERY_ENGINE
async def test_47_a_client_may_register_its_keys(open_world: World) -> None:
    keys = jwks.public_set([KEY])
    body = (await register(open_world, token_endpoint_auth_method="private_key_jwt", jwks=keys)).json()
    assert body["jwks"] == keys
    assert "client_secret" not in body
    uri = "https://app.example/jwks"
    body = (await register(open_world, token_endpoint_auth_method="private_key_jwt", jwks_uri=uri)).json()
    assert body["jwks_uri"] == uri


async def test_47_less_may_be_registered_than_was_asked_for_and_the_answer_says_so(open_world: World) -> None:
    grants = ["authorization_code", "client_credentials", "password"]
    body = (await register(open_world, grant_types=grants, scope="customer:read admin:all")).json()
    assert (body["grant_types"], body["scope"]) == (["authorization_code"], "customer:read")
    everything = (await register(open_world, scope=None, client_name=None)).json()
    assert everything["scope"] == "customer:read security:read ticket:create"
    assert everything["client_name"]


async def test_47_a_setting_bounds_what_can_be_registered(make_world: Make) -> None:
    world = await make_world(registration=True, unproven_scope=frozenset({"customer:read"}))
    assert (await register(world, scope=None)).json()["scope"] == "customer:read"
    refused = await register(world, scope="ticket:create")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize(
    "uris",
    [
        None,
        [],
        "https://app.example/callback",
        ["http://app.example/callback"],
        ["https://app.example/callback", "javascript:alert(1)"],
        ["https://app.example/callback#x"],
        ["https://*.example/callback"],
        [f"https://app.example/{n}" for n in range(21)],
        [f"https://app.example/{'x' * 2048}"],
        [""],
    ],
)
async def test_08_redirect_uris_are_judged_as_an_operators_are(open_world: World, uris: Any) -> None:
    response = await register(open_world, redirect_uris=uris)
    assert response.status_code == 400
    assert response.json()["error"] in ("invalid_redirect_uri", "invalid_client_metadata")
    assert await all_clients(open_world.store) == []
    assert open_world.events.of(Kind.CLIENT_REFUSED)


@pytest.mark.parametrize(
    "change",
    [
        {"client_name": "Bank\u202eevil"},
        {"client_name": "x" * 101},
        {"client_name": "\u3164\u3164"},
        {"client_name": "Bank\u2800"},
        {"client_name": "Bank\ufe00"},
        {"client_name": "…"},
        {"client_name": {}},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": ["none"]},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://localhost/jwks"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": json.loads(jwks.dump_private([KEY]))},
        {"jwks": jwks.public_set([KEY]), "jwks_uri": "https://app.example/jwks"},
        {"grant_types": ["client_credentials"]},
        {"grant_types": []},
        {"response_types": ["token"]},
        {"scope": "admin:all"},
        {"scope": 'a"b'},
        {"scope": ["customer:read"]},
        {"software_statement": "a.b.c"},
    ],
)
async def test_47_metadata_that_can_not_be_registered_is_an_error_of_rfc_7591(
    open_world: World, change: dict[str, Any]
) -> None:
    response = await register(open_world, **change)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert response.headers["cache-control"] == "no-store"
    assert await all_clients(open_world.store) == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b""),
        ("application/json", b"x"),
        ("application/json", b"[]"),
        ("application/json", b"[" * 5000),
        ("application/json", json.dumps(GOOD).encode() + b" " * 20_000),
        ("application/json", b'{"half a surrogate pair": "\\ud800"}'),
        ("application/x-www-form-urlencoded", b"a=b"),
        ("text/plain", json.dumps(GOOD).encode()),
    ],
)
async def test_47_only_a_json_object_of_bounded_length_is_read(
    open_world: World, content_type: str, body: bytes
) -> None:
    async with open_world.browser() as http:
        response = await http.post("/register", content=body, headers={"Content-Type": content_type})
        assert (await http.get("/register")).status_code == 405
    assert response.status_code in (400, 413)
    assert response.json()["error"] in ("invalid_request", "invalid_client_metadata")


@ON_EVERY_ENGINE
async def test_47_registrations_are_limited_by_address_and_refused_ones_count(make_world: Make) -> None:
    world = await make_world(registration=True, registrations_per_address=3)
    for _ in range(3):
        await register(world)
    assert (await register(world, redirect_uris=[])).status_code == 400
    refused = await register(world)
    assert (refused.status_code, int(refused.headers["retry-after"])) == (429, 2)
    assert len(await all_clients(world.store)) == 3
    assert (await register(world, address="203.0.113.8")).status_code == 201
    world.time += 2
    assert (await register(world)).status_code == 201


async def test_47_with_an_initial_access_token_nobody_registers_without_it(make_world: Make) -> None:
    world = await make_world(registration=True, registration_token=TOKEN)
    async with world.browser() as http:
        for header in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
            response = await http.post("/register", json=GOOD, headers=header)
            assert (response.status_code, response.json()["error"]) == (401, "invalid_token")
            assert response.headers["www-authenticate"].startswith("Bearer")
        assert await all_clients(world.store) == []
        right = await http.post("/register", json=GOOD, headers={"Authorization": f"Bearer {TOKEN}"})
    assert right.status_code == 201
    assert TOKEN not in repr(world.settings)
    with pytest.raises(UsageError):
        world.changed(registration_token="short")


async def test_47_a_script_of_another_origin_can_not_register(open_world: World) -> None:
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with open_world.browser() as http:
        for response in (
            await http.options("/register", headers=preflight),
            await http.post("/register", json=GOOD, headers={"Origin": "https://evil.example"}),
        ):
            assert not any(name.startswith("access-control") for name in response.headers)


@ON_EVERY_ENGINE
async def test_47_a_registration_that_can_not_be_recorded_does_not_happen(open_world: World) -> None:
    open_world.events.broken = True
    assert (await register(open_world)).status_code == 503
    assert await all_clients(open_world.store) == []


async def test_23_a_client_that_registered_itself_is_asked_about_until_the_user_says_remember(
    open_world: World,
) -> None:
    world = open_world
    await world.user()
    client = await registered(world)
    async with world.browser() as browser:
        page = await world.consent_page(browser, client)
        assert "Nobody here has checked this application." in page.text
        await world.decide(browser, page)
        page = await world.consent_page(browser, client)
        await world.decide(browser, page, remember="yes")
        assert "code" in query_of(await world.consent_page(browser, client))


async def test_23_a_public_client_that_registered_itself_is_asked_about_every_time(open_world: World) -> None:
    world = open_world
    await world.user()
    client = await registered(world, token_endpoint_auth_method="none")
    async with world.browser() as browser:
        for _ in range(2):
            page = await world.consent_page(browser, client)
            assert 'name="remember"' not in page.text
            await world.decide(browser, page, remember="yes")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"scope": "customer:read"}, "access_denied"),
    ],
)
async def test_18_a_client_that_registered_itself_is_no_open_redirector_though_it_has_a_secret(
    open_world: World, changes: dict[str, str], error: str
) -> None:
    """An error leads to it neither before the sign-in nor after, but by a link that says where it goes."""
    await open_world.user(scope="security:read")
    client = await registered(open_world)
    async with open_world.browser() as browser:
        response = await browser.get("/authorize", params=open_world.authorization(client, **changes))
        assert response.headers["location"].startswith("/consent?")
        for _ in range(2):
            page = await open_world.consent_page(browser, client, **changes)
            assert (page.status_code, page.headers.get("location")) == (400, None)
            (link,) = re.findall(r'<a href="(https://app[^"]+)" rel="noreferrer">go back to app.example</a>', page.text)
            assert link.startswith(f"https://app.example/callback?error={error}&amp;")
            assert "Notebook" in page.text


@ON_EVERY_ENGINE
async def test_a_registration_that_nobody_uses_is_forgotten_in_the_end(open_world: World) -> None:
    world = open_world
    await world.user()
    unused, used = await registered(world), await registered(world)
    operator = await world.client()
    await world.tokens(used)
    await purge(world.store, world.time + UNUSED_KEPT - 1)
    assert len(await all_clients(world.store)) == 3
    await purge(world.store, world.time + UNUSED_KEPT + 1)
    ids = {client.client_id for client in await all_clients(world.store)}
    assert ids == {used.client_id, operator.client_id}
    assert unused.client_id not in ids


async def test_47_what_may_be_registered_less_of_now_is_granted_no_more_either(open_world: World) -> None:
    client = (await registered(open_world, scope="customer:read security:read")).client
    assert granting.ceiling(open_world.settings, client, RESOURCE) > {"customer:read"}
    for bound in (frozenset({"customer:read"}), frozenset[str]()):
        assert granting.ceiling(open_world.changed(unproven_scope=bound), client, RESOURCE) == bound
    vouched_for = (await open_world.client()).client
    bounded = open_world.changed(unproven_scope=frozenset())
    assert granting.ceiling(bounded, vouched_for, RESOURCE) == vouched_for.scope
