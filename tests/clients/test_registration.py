"""How a client comes to its id: the specification's order, what is kept by issuer, and what happens when it is lost."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from garrison.base.errors import UsageError
from garrison.base.fetch import Fetched
from garrison.clients.errors import AuthorizationFailed, RedirectTaken, TokenRefused
from garrison.clients.registration import process_registration_response, registration_request
from garrison.clients.retry_after import Timing
from garrison.clients.session import connect
from garrison.clients.tokens import FileTokens, MemoryTokens, Registration
from garrison.oauth.server_metadata import ServerMetadata
from tests.clients.browser import Browser
from tests.clients.world import AuthServer, World, serving

ASK = ("get_customer_info", {"customer_id": "ABC123"})
DOCUMENT = "https://app.example/oauth/client.json"


@pytest.fixture
def browser() -> Browser:
    return Browser()


async def test_a_client_that_nobody_knows_registers_itself(world: World, browser: Browser) -> None:
    world.issuer.registering = True
    async with connect(world.url, login=browser.login()) as session:
        assert not (await session.call(*ASK)).is_error
        assert session.token
        assert session.token.client_id == "registered-1"
    (asked,) = world.issuer.registrations
    assert asked["application_type"] == "native"
    assert asked["token_endpoint_auth_method"] == "none"
    assert asked["grant_types"] == ["authorization_code", "refresh_token"]
    assert asked["redirect_uris"] == [world.issuer.authorize_queries[0]["redirect_uri"]]


async def test_a_named_client_comes_before_everything_else(world: World, browser: Browser) -> None:
    world.issuer.metadata = {"registration_endpoint": f"{world.issuer.issuer}/register"}
    async with connect(world.url, client_id="cli", login=browser.login()):
        pass
    assert world.issuer.registrations == []
    assert world.issuer.authorize_queries[0]["client_id"] == "cli"


async def test_a_metadata_document_comes_before_registration_where_the_server_reads_it(
    world: World, browser: Browser
) -> None:
    endpoint = {"registration_endpoint": f"{world.issuer.issuer}/register"}
    world.issuer.metadata = {**endpoint, "client_id_metadata_document_supported": True}
    async with connect(world.url, client_metadata_url=DOCUMENT, login=browser.login()) as session:
        assert session.token
        assert session.token.client_id == DOCUMENT
    assert world.issuer.registrations == []


async def test_a_server_that_reads_no_documents_gets_a_registration(world: World, browser: Browser) -> None:
    world.issuer.registering = True
    async with connect(world.url, client_metadata_url=DOCUMENT, login=browser.login()):
        pass
    assert len(world.issuer.registrations) == 1


async def test_where_no_way_is_left_the_user_is_told_to_name_a_client(world: World, browser: Browser) -> None:
    with pytest.raises(AuthorizationFailed, match="register") as failed:
        async with connect(world.url, login=browser.login()):
            pass
    assert "client_id" in failed.value.hint
    assert browser.urls == []


async def test_a_registration_is_kept_by_issuer_and_used_again(world: World, tmp_path: Path) -> None:
    world.issuer.registering = True
    for _ in range(2):
        storage = FileTokens(tmp_path / "tokens.json")
        async with connect(world.url, login=Browser().login(), storage=storage) as session:
            assert session.token
            key = session._source.key if session._source else None
            assert key
        await storage.save(key, None)  # logged out, but still registered
    assert len(world.issuer.registrations) == 1
    assert len(world.issuer.authorize_queries) == 2
    assert len({query["redirect_uri"] for query in world.issuer.authorize_queries}) == 1


async def test_another_issuer_gets_a_registration_of_its_own(world: World) -> None:
    world.issuer.registering = True
    storage = MemoryTokens()
    other = AuthServer(registering=True)
    async with serving(other.app()) as other.issuer:
        for issuer in (world.issuer, other):
            world.gate.issuers = [issuer.issuer]
            async with connect(world.url, login=Browser().login(), storage=storage):
                pass
    assert (len(world.issuer.registrations), len(other.registrations)) == (1, 1)


async def test_a_server_that_forgot_the_client_gets_one_new_registration(world: World, browser: Browser) -> None:
    world.issuer.registering = True
    ahead = [0.0]
    timing = Timing(clock=lambda: time.time() + ahead[0])
    async with connect(world.url, login=browser.login(), timing=timing) as session:
        world.issuer.known.clear()
        ahead[0] = world.issuer.lifetime - 10
        assert not (await session.call(*ASK)).is_error
        assert session.token
        assert session.token.client_id == "registered-2"
    assert len(world.issuer.registrations) == 2


async def test_a_server_that_forgets_at_once_is_not_registered_with_for_ever(world: World, browser: Browser) -> None:
    world.issuer.registering = True

    def forgetful(params: dict[str, str]) -> dict[str, str]:
        world.issuer.known.clear()
        return params

    world.issuer.redirect_params = forgetful
    with pytest.raises(TokenRefused, match="invalid_client"):
        async with connect(world.url, login=browser.login()):
            pass
    assert len(world.issuer.registrations) == 2


async def test_a_users_no_costs_the_client_no_registration(world: World, browser: Browser) -> None:
    world.issuer.registering = True
    world.issuer.redirect_params = lambda params: {**params, "code": "", "error": "access_denied"}
    storage = MemoryTokens()
    with pytest.raises(TokenRefused, match="access_denied"):
        async with connect(world.url, login=browser.login(), storage=storage):
            pass
    assert (len(world.issuer.registrations), len(browser.urls)) == (1, 1)
    assert await storage.registration(world.issuer.issuer)


async def test_a_named_client_that_the_server_does_not_know_is_not_replaced(world: World, browser: Browser) -> None:
    world.issuer.refusal = {"error": "invalid_client"}
    with pytest.raises(TokenRefused, match="invalid_client"):
        async with connect(world.url, client_id="cli", login=browser.login()):
            pass
    assert world.issuer.registrations == []


async def test_a_registered_port_that_is_taken_leads_to_a_new_registration(world: World, browser: Browser) -> None:
    world.issuer.registering = True
    storage = MemoryTokens()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}/callback"
        await storage.save_registration(world.issuer.issuer, Registration("old", uri, None, "none"))
        async with connect(world.url, login=browser.login(), storage=storage):
            pass
    assert [query["client_id"] for query in world.issuer.authorize_queries] == ["registered-1"]


async def test_a_fixed_port_that_is_taken_is_a_clear_error(world: World, browser: Browser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        login = type(browser.login())(browser.open, port=taken.getsockname()[1])
        with pytest.raises(RedirectTaken, match="in use"):
            async with connect(world.url, client_id="cli", login=login):
                pass


async def test_a_registered_secret_is_used_as_the_server_said(world: World, browser: Browser) -> None:
    world.issuer.registering = True
    world.issuer.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post", "client_secret_basic"]
    world.issuer.registration = {"client_secret": "given", "token_endpoint_auth_method": "client_secret_post"}
    async with connect(world.url, login=browser.login()):
        pass
    assert world.issuer.forms[0]["client_secret"] == "given"
    assert world.issuer.authorizations == [None]


async def test_a_secret_that_has_ended_leads_to_a_new_registration(world: World, browser: Browser) -> None:
    world.issuer.registering = True
    storage = MemoryTokens()
    old = Registration("old", "http://127.0.0.1:9/callback", "s", "client_secret_basic", expires_at=1.0)
    await storage.save_registration(world.issuer.issuer, old)
    async with connect(world.url, login=browser.login(), storage=storage):
        pass
    kept = await storage.registration(world.issuer.issuer)
    assert kept
    assert kept.client_id == "registered-1"


async def test_a_refused_registration_is_told_in_the_servers_words(world: World, browser: Browser) -> None:
    world.issuer.registering = True
    world.issuer.refusal = {"error": "invalid_redirect_uri", "error_description": "no loopback here"}
    with pytest.raises(TokenRefused, match="no loopback here"):
        async with connect(world.url, login=browser.login()):
            pass


@pytest.mark.parametrize(
    "endpoint", ["http://auth.example/register", "https://10.0.0.1/register", "file:///etc/passwd"]
)
async def test_nothing_is_registered_at_a_forbidden_address(world: World, browser: Browser, endpoint: str) -> None:
    world.issuer.metadata["registration_endpoint"] = endpoint
    with pytest.raises(AuthorizationFailed, match="registration_endpoint"):
        async with connect(world.url, login=browser.login()):
            pass


async def test_a_named_client_does_not_follow_the_server_to_another_issuer(world: World, browser: Browser) -> None:
    other = AuthServer()
    async with (
        serving(other.app()) as other.issuer,
        connect(world.url, client_id="cli", login=browser.login()) as session,
    ):
        world.gate.issuers = [other.issuer]
        with pytest.raises(AuthorizationFailed, match="moved"):
            await session.call(*ASK)
    assert other.forms == []


async def test_no_refresh_token_goes_to_another_issuer(world: World, browser: Browser) -> None:
    """RFC 9700 §4.4: what one issuer gave is for that issuer alone."""
    world.issuer.registering = True
    other = AuthServer(registering=True)
    async with serving(other.app()) as other.issuer, connect(world.url, login=browser.login()) as session:
        world.gate.issuers = [other.issuer]
        assert not (await session.call(*ASK)).is_error
        assert session.token
        assert session.token.issuer == other.issuer
    assert [form["grant_type"] for form in other.forms] == ["authorization_code"]
    assert len(other.registrations) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/client.json",
        "https://app.example",
        "https://app.example/",
        "https://user@app.example/client.json",
        "https://app.example/client.json#part",
        "https://app.example/a/../client.json",
        "https://app.example/clïent.json",
    ],
)
async def test_an_address_that_can_be_no_clients_id_is_refused(world: World, url: str, browser: Browser) -> None:
    with pytest.raises(UsageError, match="metadata document"):
        async with connect(world.url, client_metadata_url=url, login=browser.login()):
            pass


def response(status: int, **document: Any) -> Fetched:
    return Fetched(status, {}, json.dumps(document).encode())


@pytest.mark.parametrize(
    "answer",
    [
        response(500),
        response(302, client_id="a"),
        response(201),
        response(201, client_id=""),
        response(201, client_id=["a"]),
        response(201, client_id="a\nb"),
        response(201, client_id="a", token_endpoint_auth_method="private_key_jwt"),
        response(201, client_id="a", token_endpoint_auth_method="client_secret_basic"),
        Fetched(201, {}, b"[]"),
    ],
)
def test_an_answer_that_is_no_registration_is_refused(answer: Fetched) -> None:
    with pytest.raises(AuthorizationFailed):
        process_registration_response(answer, "http://127.0.0.1:1/callback", "none")


@pytest.mark.parametrize(("value", "expires"), [(0, 0), (7, 7), (True, 0), ("7", 0), (-1, 0), (1e300, 0), (None, 0)])
def test_when_the_secret_ends_is_believed_only_as_a_sensible_number(value: Any, expires: float) -> None:
    answer = response(201, client_id="a", client_secret="b", client_secret_expires_at=value)
    kept = process_registration_response(answer, "http://127.0.0.1:1/callback", "none")
    assert (kept.expires_at, kept.auth_method) == (expires, "")


def metadata(*methods: str) -> ServerMetadata:
    return ServerMetadata("https://a.example", "https://a.example/t", "", token_endpoint_auth_methods=methods)


def test_a_server_that_takes_only_keys_can_not_be_registered_with() -> None:
    with pytest.raises(AuthorizationFailed, match="prove ourselves"):
        registration_request(metadata("private_key_jwt"), "http://127.0.0.1:1/callback", frozenset())
    body = registration_request(metadata("client_secret_basic"), "http://127.0.0.1:1/callback", frozenset({"b", "a"}))
    assert (body["token_endpoint_auth_method"], body["scope"]) == ("client_secret_basic", "a b")
