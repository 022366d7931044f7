"""Statements 23 and 51 to 57: clients that are known by the URL of a document about them (CIMD)."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from garrison.authserver import admin
from garrison.authserver.client_documents import PREFIX
from garrison.authserver.records import Client
from garrison.authserver.stores.clients import find_client, put_document_client, save_client
from garrison.authserver.stores.purge import KEPT, purge
from garrison.authserver.stores.users import remembered_consent
from garrison.base.errors import UsageError
from garrison.base.events import Kind
from garrison.base.fetch import Fetched, Fetcher
from garrison.oauth import client_assertion, jwks, signed_jwt
from garrison.serving import Endpoint, bind, running
from garrison.tls.authority import ensure
from garrison.tls.context import client_context, server_context
from tests.authserver.world import ISSUER, ON_EVERY_ENGINE, RESOURCE, Make, World, query_of

URL = "https://app.example/client.json"
REDIRECT = "https://app.example/callback"
LOOPBACK = "http://127.0.0.1:8000/callback"
KEY, OTHER_KEY = jwks.new_signing_key("ES256"), jwks.new_signing_key("ES256")
REMEMBER = 'name="remember"'


def document(**changes: Any) -> dict[str, Any]:
    """A good one, changed; None leaves a member out."""
    good = {
        "client_id": URL,
        "client_name": "Document desk",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        **changes,
    }
    return {name: value for name, value in good.items() if value is not None}


def known_by(url: str = URL, redirect_uri: str = REDIRECT) -> admin.NewClient:
    """What a test needs to know of a client that nobody has registered."""
    record = Client(url, "", "none", frozenset(), frozenset(), (redirect_uri,), (), disabled=False, created_at=0)
    return admin.NewClient(url, None, record)


async def authorize(world: World, url: str = URL, **changes: str | None) -> httpx2.Response:
    async with world.browser() as browser:
        return await browser.get("/authorize", params=world.authorization(known_by(url), **changes))


def is_error_page(response: httpx2.Response) -> bool:
    return response.status_code == 400 and "location" not in response.headers


@ON_EVERY_ENGINE
async def test_51_a_client_that_publishes_its_metadata_needs_no_registration(world: World) -> None:
    await world.user()
    world.web.publish(URL, document())
    body = await world.tokens(known_by())
    token = world.read(body["access_token"])
    assert (token.client_id, token.subject, body["scope"]) == (URL, "alice", "customer:read")
    assert (await world.refresh(known_by(), body["refresh_token"])).status_code == 200
    assert [event.client_id for event in world.events.of(Kind.CLIENT_ADDED)] == [URL]


async def test_51_it_is_advertised_if_it_works(make_world: Make) -> None:
    for on in (True, False):
        world = await make_world(client_documents=on)
        world.web.publish(URL, document())
        async with world.browser() as http:
            metadata = (await http.get("/.well-known/oauth-authorization-server")).json()
        assert metadata["client_id_metadata_document_supported"] is on
        assert is_error_page(await authorize(world)) is not on
        assert bool(world.web.asked) is on


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/client.json",
        "https://app.example",
        "https://app.example/",
        "https://app.example/../client.json",
        "https://app.example/a/./client.json",
        "https://app.example/a/%2e%2E/client.json",
        "https://app.example/a/..",
        "https://app.example/client.json#x",
        "https://app.example/client.json#",
        "https://app.example/client.json?x=1",
        "https://user@app.example/client.json",
        "https://evil.example[2606:4700::1111]/client.json",
        "https://user:password@app.example/client.json",
        "https://app.example\\@evil.example/client.json",
        "https://app.example/a\\b",
        "https:///client.json",
        "https://app.example:x/client.json",
        "https://app.example/a b",
        "https://exämple.example/client.json",
        "https://app.example/" + "x" * 512,
        "HTTPS://app.example/client.json",
    ],
)
async def test_51_the_url_is_https_with_a_path_and_without_dot_segments_fragment_and_user_name(
    world: World, url: str
) -> None:
    world.web.publish(url, document(client_id=url))
    assert is_error_page(await authorize(world, url))
    assert not world.web.asked


@pytest.mark.parametrize(
    "other",
    ["https://app.example/client.json/", "https://APP.example/client.json", "https://evil.example/client.json", "", 1],
)
async def test_52_the_document_names_its_own_url_byte_for_byte(world: World, other: Any) -> None:
    world.web.publish(URL, document(client_id=other))
    assert is_error_page(await authorize(world))
    assert await find_client(world.store, URL) is None


@pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 307, 401, 404, 500])
async def test_53_only_200_is_an_answer(world: World, status: int) -> None:
    world.web.publish(URL, document(), status=status)
    assert is_error_page(await authorize(world))


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "image/png", "", "application/jsonx"])
async def test_53_only_json_is_an_answer(world: World, content_type: str) -> None:
    world.web.publish(URL, document(), content_type=content_type)
    assert is_error_page(await authorize(world))


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/client-metadata+json"])
async def test_53_json_has_several_names(world: World, content_type: str) -> None:
    world.web.publish(URL, document(), content_type=content_type)
    assert (await authorize(world)).status_code == 303


async def test_53_a_document_longer_than_5_kilobytes_is_not_read(world: World) -> None:
    for size, right in ((5120, True), (5121, False)):
        body = b'{"client_id": "https://app.example/client.json", "redirect_uris": ["https://app.example/callback"]'
        world.web.pages[URL] = Fetched(200, {"content-type": "application/json"}, body.ljust(size - 1) + b"}")
        assert (await authorize(world)).status_code == (303 if right else 400)
        world.time += 301


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b'"x"', b"null", b"[" * 5000, b"\xff"])
async def test_53_what_is_no_json_object_is_refused(world: World, body: bytes) -> None:
    world.web.pages[URL] = Fetched(200, {"content-type": "application/json"}, body)
    assert is_error_page(await authorize(world))


@asynccontextmanager
async def site(folder: Path, **settings: Any) -> AsyncIterator[tuple[int, Fetcher]]:
    """A real site on loopback, with TLS of a local authority, and a fetcher that believes it to be app.example."""
    paths = ensure(folder, names=["app.example"])

    async def good(_request: Request) -> Response:
        return JSONResponse(document())

    async def moved(_request: Request) -> Response:
        return RedirectResponse(URL, status_code=302)

    routes = [Route("/client.json", good), Route("/moved.json", moved)]
    sockets = bind("site", "localhost", 0)
    port = sockets[0].getsockname()[1]
    async with (
        running(Endpoint("site", Starlette(routes=routes), sockets, server_context(paths.server, paths.server_key))),
        Fetcher(client_context(paths.ca), connect_to={"app.example:443": f"127.0.0.1:{port}"}, **settings) as fetcher,
    ):
        yield port, fetcher


async def test_53_over_the_real_network_a_document_is_fetched_and_no_redirect_followed(
    world: World, tmp_path: Path
) -> None:
    async with site(tmp_path / "site", private_addresses=True) as (_, fetcher):
        app = await world.another_app(fetcher=fetcher)
        async with world.browser(app) as browser:
            for url, status in ((URL, 303), ("https://app.example/moved.json", 400)):
                response = await browser.get("/authorize", params=world.authorization(known_by(url)))
                assert response.status_code == status


async def test_54_special_use_addresses_are_refused_after_resolution(world: World, tmp_path: Path) -> None:
    async with site(tmp_path / "site") as (port, fetcher):
        app = await world.another_app(fetcher=fetcher)
        async with world.browser(app) as browser:
            for url in (
                URL,
                f"https://localhost:{port}/client.json",
                f"https://127.0.0.1:{port}/client.json",
                f"https://[::1]:{port}/client.json",
                f"https://[::ffff:127.0.0.1]:{port}/client.json",
                "https://169.254.169.254/latest/meta-data",
            ):
                assert is_error_page(await browser.get("/authorize", params=world.authorization(known_by(url))))
    details = [str(event.detail["detail"]) for event in world.events.of(Kind.CLIENT_REFUSED)]
    assert len(details) == 6
    assert all("special-use address" in detail for detail in details)


async def test_54_the_fetcher_that_the_server_makes_itself_goes_to_public_addresses_alone(
    world: World,
) -> None:
    app = await world.another_app(fetcher=None)
    async with world.browser(app) as browser:
        url = "https://localhost:1/client.json"
        assert is_error_page(await browser.get("/authorize", params=world.authorization(known_by(url))))
    assert "special-use address" in str(world.events.of(Kind.CLIENT_REFUSED)[0].detail["detail"])


async def test_54_the_keys_of_a_client_that_the_operator_knows_are_at_a_public_address_too(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        client = await world.client(method="private_key_jwt", jwks_uri=address)
        now = world.time
        claims = {
            "iss": client.client_id,
            "sub": client.client_id,
            "aud": ISSUER,
            "iat": now,
            "exp": now + 60,
            "jti": "1",
        }
        form = {"grant_type": "client_credentials", "client_assertion_type": client_assertion.TYPE}
        async with world.browser(await world.another_app(fetcher=None)) as http:
            signed = signed_jwt.sign(KEY, claims, typ="JWT")
            assert (await http.post("/token", data={**form, "client_assertion": signed})).status_code == 401
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    "uri", ["http://app.example/jwks", "http://localhost/jwks", "https://u@app.example/", "file:///x", "", 1, "x"]
)
async def test_55_jwks_uri_is_an_https_address(world: World, uri: Any) -> None:
    world.web.publish(URL, document(token_endpoint_auth_method="private_key_jwt", jwks_uri=uri))
    assert is_error_page(await authorize(world))


async def test_55_a_clients_keys_are_fetched_by_the_same_fetcher_and_only_when_it_authenticates(world: World) -> None:
    await world.user()
    keys = "https://app.example/jwks"
    world.web.publish(URL, document(token_endpoint_auth_method="private_key_jwt", jwks_uri=keys))
    world.web.publish(keys, jwks.public_set([KEY]))
    code = await world.code(known_by())
    assert world.web.asked == [URL]
    assert (await redeem(world, code, KEY)).status_code == 200
    assert world.web.asked == [URL, keys]


async def test_55_a_logo_is_neither_fetched_nor_shown(world: World) -> None:
    await world.user()
    logo = "https://169.254.169.254/logo.png"
    world.web.publish(URL, document(logo_uri=logo))
    async with world.browser() as browser:
        page = await world.consent_page(browser, known_by())
    assert world.web.asked == [URL]
    assert "<img" not in page.text
    assert logo not in page.text


async def redeem(world: World, code: str, key: jwks.SigningKey, jti: str = "one") -> httpx2.Response:
    claims = {"iss": URL, "sub": URL, "aud": ISSUER, "iat": world.time, "exp": world.time + 60, "jti": jti}
    form = {
        **world.redemption(known_by(), code),
        "client_assertion_type": client_assertion.TYPE,
        "client_assertion": signed_jwt.sign(key, claims, typ="JWT"),
    }
    async with world.browser() as http:
        return await http.post("/token", data=form)


async def test_56_a_failure_is_not_cached(world: World) -> None:
    world.web.publish(URL, document(), status=500)
    assert is_error_page(await authorize(world))
    world.web.publish(URL, document())
    assert (await authorize(world)).status_code == 303


@ON_EVERY_ENGINE
async def test_56_a_document_that_has_gone_or_gone_bad_ends_what_its_client_can_do(world: World) -> None:
    await world.user()
    world.web.publish(URL, document())
    token = (await world.tokens(known_by()))["refresh_token"]
    world.time += 301
    for status in (404, 500):
        world.web.publish(URL, document(), status=status)
        response = await world.refresh(known_by(), token)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    world.web.pages.clear()  # nobody answers there
    assert (await world.refresh(known_by(), token)).status_code == 401
    world.web.publish(URL, document())
    assert (await world.refresh(known_by(), token)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        # what the document's answer says of its age, and for how long it is believed
        ({}, 300),
        ({"cache_control": "max-age=60"}, 60),
        ({"cache_control": 'public, Max-Age="60"'}, 60),
        ({"cache_control": "max-age=60", "age": "50"}, 10),
        ({"cache_control": "max-age=999999999"}, 86_400),
        ({"cache_control": "no-store"}, 0),
        ({"cache_control": "no-cache, max-age=60"}, 0),
        ({"cache_control": "max-age=-1"}, 0),
        ({"cache_control": "max-age=x"}, 0),
        ({"cache_control": "max-age=60", "age": "100"}, 0),
        ({"expires": "Fri, 15 Jan 2027 08:02:00 GMT"}, 120),
        ({"expires": "0"}, 0),
        ({"expires": "Fri, 15 Jan 2027 08:02:00 GMT", "cache_control": "max-age=60"}, 60),
    ],
)
async def test_56_http_cache_headers_are_respected_within_a_day(
    world: World, headers: dict[str, str], seconds: int
) -> None:
    world.web.publish(URL, document(), status=200, **headers)
    await authorize(world)
    if seconds:
        world.time += seconds - 1
        await authorize(world)
        assert len(world.web.asked) == 1
        world.time += 1
    await authorize(world)
    assert len(world.web.asked) == 2


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"redirect_uris": [REDIRECT, "https://app.example/other"]}, True),
        ({"redirect_uris": [REDIRECT], "jwks": jwks.public_set([OTHER_KEY])}, True),
        ({"jwks": None, "jwks_uri": "https://app.example/jwks"}, True),
        ({"jwks": None, "token_endpoint_auth_method": "none"}, True),
        ({"client_name": "Another name"}, False),
        ({}, False),
    ],
)
async def test_56_a_change_of_keys_or_redirect_uris_asks_for_consent_again(
    world: World, change: dict[str, Any], asked: bool
) -> None:
    await world.user()
    keys = {"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks.public_set([KEY])}
    world.web.publish(URL, document(**keys))
    async with world.browser() as browser:
        page = await world.consent_page(browser, known_by())
        await world.decide(browser, page, remember="yes")
        assert "code" in query_of(await world.consent_page(browser, known_by()))
        world.time += 301
        world.web.publish(URL, document(**{**keys, **change}))
        again = await world.consent_page(browser, known_by())
    assert (again.status_code == 200) is asked
    assert len(world.events.of(Kind.CLIENT_CHANGED)) == asked


@ON_EVERY_ENGINE
async def test_56_a_key_that_was_taken_out_of_the_document_authenticates_no_more(world: World) -> None:
    await world.user()
    keys = {"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks.public_set([KEY])}
    world.web.publish(URL, document(**keys), cache_control="no-cache")
    code = await world.code(known_by())
    world.web.publish(URL, document(**{**keys, "jwks": jwks.public_set([OTHER_KEY])}))
    assert (await redeem(world, code, KEY)).status_code == 401
    assert (await redeem(world, code, OTHER_KEY)).status_code == 200


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt", "x", 1, []])
async def test_57_methods_with_a_shared_secret_are_refused(world: World, method: Any) -> None:
    world.web.publish(URL, document(token_endpoint_auth_method=method))
    assert is_error_page(await authorize(world))


@pytest.mark.parametrize("member", [{"client_secret": "x"}, {"client_secret_expires_at": 0}])
async def test_57_a_document_with_a_secret_in_it_is_refused(world: World, member: dict[str, Any]) -> None:
    world.web.publish(URL, document(**member))
    assert is_error_page(await authorize(world))


@pytest.mark.parametrize(
    ("hosts", "url", "right"),
    [
        (["app.example"], URL, True),
        (["*.app.example"], "https://www.app.example/client.json", True),
        (["other.example", "app.example"], URL, True),
        (["app.example"], "https://app.example:8443/client.json", True),
        (["other.example"], URL, False),
        (["*.app.example"], URL, False),
        (["app.example"], "https://app.example.evil.example/client.json", False),
        (["app.example"], "https://evilapp.example/client.json", False),
        (["*.app.example"], "https://evilapp.example/client.json", False),
        (["app.example"], "https://app.example./client.json", False),
    ],
)
async def test_57_a_domain_allowlist_can_be_set(make_world: Make, hosts: list[str], url: str, right: bool) -> None:
    world = await make_world(client_document_hosts=hosts)
    world.web.publish(url, document(client_id=url))
    response = await authorize(world, url)
    assert response.status_code == 303 if right else is_error_page(response)
    assert bool(world.web.asked) is right


async def test_57_a_client_that_was_known_before_its_host_was_disallowed_is_refused(world: World) -> None:
    world.web.publish(URL, document())
    assert (await authorize(world)).status_code == 303
    stricter = await world.another_app(client_document_hosts=["other.example"])
    async with world.browser(stricter) as browser:
        assert is_error_page(await browser.get("/authorize", params=world.authorization(known_by())))


@pytest.mark.parametrize("host", ["", "https://app.example", "App.example", "*", "*.", "app.example/x", "a.*.example"])
async def test_57_an_allowlist_that_can_not_be_understood_is_refused(world: World, host: str) -> None:
    with pytest.raises(UsageError):
        world.changed(client_document_hosts=[host])


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uris": None},
        {"redirect_uris": []},
        {"redirect_uris": "https://app.example/callback"},
        {"redirect_uris": ["http://app.example/callback"]},
        {"redirect_uris": [REDIRECT, "javascript:alert(1)"]},
        {"redirect_uris": [f"{REDIRECT}/{n}" for n in range(21)]},
        {"redirect_uris": [f"{REDIRECT}/{'x' * 2048}"]},
        {"client_name": "Bank\u202eevil"},
        {"client_name": 1},
        {"client_name": "x" * 101},
        {"grant_types": ["client_credentials"]},
        {"grant_types": "authorization_code"},
        {"response_types": ["token"]},
        {"scope": "admin:all"},
        {"scope": 1},
        {"scope": 'a"b'},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}},
        {"jwks": jwks.public_set([KEY]), "jwks_uri": "https://app.example/jwks"},
    ],
)
async def test_08_what_a_document_says_is_judged_as_what_an_operator_registers(
    world: World, change: dict[str, Any]
) -> None:
    world.web.publish(URL, document(**change))
    assert is_error_page(await authorize(world))
    assert await find_client(world.store, URL) is None


async def test_35_a_client_known_by_its_document_gets_nothing_without_a_user(world: World) -> None:
    keys = {"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks.public_set([KEY])}
    world.web.publish(URL, document(**keys, grant_types=["authorization_code", "client_credentials"]))
    claims = {"iss": URL, "sub": URL, "aud": ISSUER, "iat": world.time, "exp": world.time + 60, "jti": "one"}
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": client_assertion.TYPE,
        "client_assertion": signed_jwt.sign(KEY, claims, typ="JWT"),
    }
    async with world.browser() as http:
        response = await http.post("/token", data=form)
    assert response.json()["error"] == "unauthorized_client"


async def test_15_a_setting_bounds_what_unproven_clients_may_get(make_world: Make) -> None:
    world = await make_world(unproven_scope=frozenset({"customer:read", "admin:all"}))
    await world.user()
    world.web.publish(URL, document(scope="customer:read ticket:create"))
    assert (await world.tokens(known_by(), scope="customer:read ticket:create"))["scope"] == "customer:read"


async def test_22_consent_shows_the_host_that_describes_the_client_and_that_nobody_checked_it(world: World) -> None:
    await world.user()
    url = "https://described.example/client.json"
    world.web.publish(url, document(client_id=url, client_name=None))
    async with world.browser() as browser:
        page = await world.consent_page(browser, known_by(url))
    assert "<dd>described.example</dd>" in page.text
    assert "<dd>app.example</dd>" in page.text
    assert "Nobody here has checked this application." in page.text
    assert '<span class="name">described.example</span>' in page.text


async def test_23_a_client_known_by_its_document_is_warned_of_when_it_is_a_program_on_this_computer(
    world: World,
) -> None:
    await world.user()
    world.web.publish(URL, document(redirect_uris=[LOOPBACK]))
    async with world.browser() as browser:
        page = await world.consent_page(browser, known_by(redirect_uri=LOOPBACK))
    assert "That is a program on this computer." in page.text
    assert REMEMBER not in page.text


@pytest.mark.parametrize(
    ("redirect_uri", "remembered"),
    [
        (REDIRECT, True),
        (LOOPBACK, False),
        ("https://elsewhere.example/callback", False),
        ("https://app.example:8443/callback", False),
        ("com.example.app:/callback", False),
    ],
)
async def test_23_a_public_client_is_remembered_only_where_its_own_host_gets_the_answer(
    world: World, redirect_uri: str, remembered: bool
) -> None:
    await world.user()
    world.web.publish(URL, document(redirect_uris=[redirect_uri]))
    client = known_by(redirect_uri=redirect_uri)
    key = {"username": "alice", "client_id": URL, "resource": RESOURCE}
    async with world.browser() as browser:
        page = await world.consent_page(browser, client)
        assert (REMEMBER in page.text) is remembered
        await world.decide(browser, page)
        page = await world.consent_page(browser, client)
        await world.decide(browser, page, remember="yes")
        assert bool(await remembered_consent(world.store, **key)) is remembered
        await world.remember(**key, scope="customer:read")
        assert ((await world.consent_page(browser, client)).status_code == 303) is remembered


async def test_23_a_host_that_gets_the_answer_in_the_clear_is_nobodys_own(world: World) -> None:
    await world.user()
    url, redirect_uri = "https://localhost/client.json", "http://localhost/callback"
    world.web.publish(url, document(client_id=url, redirect_uris=[redirect_uri]))
    async with world.browser() as browser:
        page = await world.consent_page(browser, known_by(url, redirect_uri))
    assert page.status_code == 200
    assert REMEMBER not in page.text


async def test_18_a_client_that_nobody_vouches_for_gets_no_error_redirect_before_sign_in_though_it_has_a_key(
    world: World,
) -> None:
    world.web.publish(URL, document(token_endpoint_auth_method="private_key_jwt", jwks=jwks.public_set([KEY])))
    response = await authorize(world, response_type="token")
    assert response.headers["location"].startswith("/consent?")


@ON_EVERY_ENGINE
async def test_an_address_that_makes_us_fetch_in_vain_is_slowed_down(make_world: Make) -> None:
    world = await make_world(free_failures_per_address=3)
    for _ in range(4):
        assert is_error_page(await authorize(world))
    refused = await authorize(world)
    assert (refused.status_code, int(refused.headers["retry-after"])) == (429, 2)
    assert len(world.web.asked) == 4
    world.time += 2
    world.web.publish(URL, document(), cache_control="no-store")
    assert (await authorize(world)).status_code == 303
    world.time += 10
    for _ in range(10):
        assert (await authorize(world)).status_code == 303, "what works costs nothing"


@ON_EVERY_ENGINE
async def test_a_disabled_client_stays_disabled_whatever_its_document_says(world: World) -> None:
    world.web.publish(URL, document(), cache_control="no-store")
    await authorize(world)
    await admin.disable_client(world.store, URL)
    world.web.publish(URL, document(client_name="New"))
    assert is_error_page(await authorize(world))
    assert len(world.web.asked) == 1
    await admin.disable_client(world.store, URL, disabled=False)
    assert (await authorize(world)).status_code == 303


@ON_EVERY_ENGINE
async def test_a_client_that_is_disabled_while_its_document_is_fetched_stays_disabled(world: World) -> None:
    world.web.publish(URL, document())
    await authorize(world)
    (known, _) = await find_client(world.store, URL) or (known_by().client, None)
    await admin.disable_client(world.store, URL)
    late = replace(known, name="Late", disabled=False, created_at=0)
    await put_document_client(world.store, late, same_identity=lambda _: True)
    assert await find_client(world.store, URL) == (replace(known, name="Late", disabled=True), None)


@ON_EVERY_ENGINE
async def test_a_document_that_can_not_be_recorded_makes_no_client(world: World) -> None:
    world.web.publish(URL, document())
    world.events.broken = True
    assert (await authorize(world)).status_code == 503
    assert await find_client(world.store, URL) is None


@ON_EVERY_ENGINE
async def test_clients_that_nobody_granted_anything_are_forgotten_and_others_stay(world: World) -> None:
    await world.user()
    for url in (URL, "https://other.example/client.json"):
        world.web.publish(url, document(client_id=url))
        await authorize(world, url)
    operator = await world.client()
    await world.tokens(known_by())
    disabled = "https://disabled.example/client.json"
    world.web.publish(disabled, document(client_id=disabled))
    await authorize(world, disabled)
    await admin.disable_client(world.store, disabled, clock=world.now)
    await purge(world.store, world.time + 300 + KEPT - 1)
    assert await find_client(world.store, "https://other.example/client.json")
    await purge(world.store, world.time + 300 + KEPT + 1)
    assert await find_client(world.store, "https://other.example/client.json") is None
    assert await find_client(world.store, URL)
    assert await find_client(world.store, operator.client_id)
    assert is_error_page(await authorize(world, disabled)), "what the operator has disabled does not come back"


async def test_no_client_id_that_we_issue_is_a_url(world: World) -> None:
    client = await world.client()
    assert not client.client_id.startswith(PREFIX)
    assert client.client.source == "operator"
    await save_client(world.store, known_by("client_x").client, None)
    assert (await find_client(world.store, "client_x") or (client.client, None))[0].fresh_until == 0


async def test_whoever_makes_us_fetch_does_not_learn_how_it_was_answered(world: World) -> None:
    told = set()
    for status in (301, 401, 404, 503):
        world.web.publish(URL, {}, status=status)
        told.add((await authorize(world)).text.replace(world.events.events[-1].correlation_id, ""))
        assert f"status {status}" in str(world.events.events[-1].detail)
    world.web.pages.clear()
    told.add((await authorize(world)).text.replace(world.events.events[-1].correlation_id, ""))
    assert len(told) == 1
