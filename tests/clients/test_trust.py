"""What a client believes: no forged token, no metadata that leads astray, no credentials for another issuer."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from garrison.base.errors import GarrisonError
from garrison.clients.authorization import check_mix_up
from garrison.clients.destination import check_named
from garrison.clients.errors import AuthorizationFailed
from garrison.clients.login import Login
from garrison.clients.session import connect
from garrison.clients.tokens import MemoryTokens
from garrison.clients.verification import is_jwt
from garrison.oauth import access_token, jwks
from garrison.oauth.errors import MetadataError
from garrison.oauth.server_metadata import ServerMetadata
from tests.clients.browser import Browser
from tests.clients.world import KEY, AuthServer, World, serving

OTHER = jwks.new_signing_key("ES256")
FORGED_KEY = jwks.SigningKey(KEY.kid, OTHER.private, KEY.alg)


def issued(key: jwks.SigningKey = KEY, **changes: Any) -> Callable[[dict[str, Any]], str]:
    return lambda about: access_token.issue(key, **{**about, **changes})


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (issued(FORGED_KEY), "signature"),
        (issued(OTHER), "key is not known"),
        (issued(audience="https://other.example/mcp"), "another resource"),
        (issued(issuer="https://other.example"), "another issuer"),
        (issued(now=time.time() - 10_000), "expired"),
        (issued(client_id="somebody-else"), "another client"),
    ],
)
async def test_a_token_that_does_not_verify_is_never_sent(
    world: World, forge: Callable[[dict[str, Any]], str], why: str
) -> None:
    world.issuer.make_token = forge
    with pytest.raises(AuthorizationFailed, match=why):
        async with connect(world.url, **world.client):
            pass
    assert {seen.authorization for seen in world.gate.seen} == {None}


async def test_a_token_without_a_signature_is_never_sent(world: World) -> None:
    def unsigned(about: dict[str, Any]) -> str:
        _, payload, _ = access_token.issue(KEY, **about).split(".")
        return f"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{payload}."  # {"alg":"none","typ":"at+jwt"}

    world.issuer.make_token = unsigned
    with pytest.raises(AuthorizationFailed, match="does not verify"):
        async with connect(world.url, **world.client):
            pass
    assert {seen.authorization for seen in world.gate.seen} == {None}


async def test_a_token_that_is_no_jwt_is_taken_as_opaque(world: World) -> None:
    world.issuer.make_token = lambda about: "opaque-but-good"
    async with connect(world.url, **world.client) as session:
        assert not (await session.call("get_customer_info", {"customer_id": "ABC123"})).is_error


@pytest.mark.parametrize(
    ("token", "expected"),
    [("opaque", False), ("a.b", False), ("a.b.c", False), ("e30.e30.", True), ("eyJhbGciOiJub25lIn0.x.y", True)],
)
def test_three_parts_with_a_json_header_are_a_jwt(token: str, *, expected: bool) -> None:
    assert is_jwt(token) is expected


async def test_new_keys_of_the_issuer_are_fetched_once_and_then_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(world.url, **world.client) as session:
        monkeypatch.setattr("tests.clients.world.KEY", OTHER)  # the server signs with another key from now on
        refused = [True]
        world.gate.forced = lambda seen: (401, {}) if seen.tool and refused and refused.pop() else None
        assert not (await session.call("get_customer_info", {"customer_id": "ABC123"})).is_error
    assert world.issuer.jwks_requests == 2


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/x",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "ftp://localhost/x",
        "https://169.254.169.254/x",
    ],
)
async def test_a_challenge_leads_to_no_forbidden_address(world: World, address: str) -> None:
    world.gate.metadata_url = address
    with pytest.raises(AuthorizationFailed, match="resource_metadata"):
        async with connect(world.url, client_id="demo"):
            pass


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254", "file:///etc", "http://auth.example", "https://10.0.0.1"]
)
async def test_resource_metadata_leads_to_no_forbidden_address(world: World, address: str) -> None:
    world.gate.metadata["authorization_servers"] = [address]
    with pytest.raises(AuthorizationFailed, match="authorization server"):
        async with connect(world.url, client_id="demo"):
            pass


@pytest.mark.parametrize("endpoint", ["token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/t", "javascript:alert(1)", "file:///etc/passwd", "https://[fe80::1]/t", ""]
)
async def test_server_metadata_leads_to_no_forbidden_address(world: World, endpoint: str, address: str) -> None:
    world.issuer.metadata[endpoint] = address
    with pytest.raises(AuthorizationFailed, match=endpoint):
        async with connect(world.url, **world.client):
            pass
    assert {seen.authorization for seen in world.gate.seen} == {None}


@pytest.mark.parametrize("address", ["https://localhost/x", "https://127.0.0.1:1/x", "http://localhost:1/x"])
def test_a_server_elsewhere_may_not_lead_to_this_machine(address: str) -> None:
    with pytest.raises(AuthorizationFailed, match="this machine"):
        check_named(address, "token_endpoint", local=False)
    assert check_named(address, "token_endpoint", local=True) == address


async def test_metadata_of_another_issuer_is_not_used(world: World) -> None:
    world.issuer.metadata["issuer"] = f"{world.issuer.issuer}/"
    with pytest.raises(MetadataError, match="another issuer"):
        async with connect(world.url, **world.client):
            pass
    assert world.issuer.forms == []


async def test_credentials_are_never_sent_to_another_issuer_than_their_own(world: World) -> None:
    evil = AuthServer()
    async with serving(evil.app()) as evil.issuer:
        world.gate.issuers = [evil.issuer]
        with pytest.raises(AuthorizationFailed, match="does not use the configured"):
            async with connect(world.url, **world.client):
                pass
    assert evil.forms == []
    assert world.issuer.forms == []


async def test_of_several_issuers_the_configured_one_is_used(world: World) -> None:
    evil = AuthServer()
    async with serving(evil.app()) as evil.issuer:
        world.gate.metadata["authorization_servers"] = [evil.issuer, world.issuer.issuer]
        async with connect(world.url, **world.client) as session:
            assert session.token
            assert session.token.issuer == world.issuer.issuer
    assert evil.forms == []


@pytest.mark.parametrize(
    "resource", ["https://other.example/mcp", "{origin}/other", "{origin}/mcp/deeper", "{origin}/m"]
)
async def test_metadata_of_another_resource_is_not_used(world: World, resource: str) -> None:
    origin = world.url.removesuffix("/mcp")
    world.gate.metadata["resource"] = resource.replace("{origin}", origin)
    with pytest.raises(MetadataError, match="another resource"):
        async with connect(world.url, **world.client):
            pass
    assert world.issuer.forms == []


@pytest.mark.parametrize("place", ["resource", "authorization_servers", "authorization_endpoint"])
async def test_metadata_that_names_no_url_is_a_clear_error(world: World, place: str) -> None:
    wrong: Any = ["https://["] if place == "authorization_servers" else "https://["
    (world.issuer if place == "authorization_endpoint" else world.gate).metadata[place] = wrong
    with pytest.raises(GarrisonError):
        async with connect(world.url, client_id="cli"):
            pass


async def test_a_challenge_without_an_address_leads_to_the_well_known_one(world: World) -> None:
    world.gate.metadata_url = "-"
    async with connect(world.url, **world.client) as session:
        assert session.token


async def test_openid_discovery_is_tried_where_rfc_8414_finds_nothing(world: World) -> None:
    world.issuer.metadata_path = "/.well-known/openid-configuration"
    async with connect(world.url, **world.client) as session:
        assert session.token


async def test_a_server_without_any_metadata_is_a_clear_error(world: World) -> None:
    world.issuer.metadata_path = "/nowhere"
    with pytest.raises(AuthorizationFailed, match="publishes no metadata"):
        async with connect(world.url, **world.client):
            pass


@pytest.mark.parametrize("resource", ["{origin}/mcp/", "{origin}/", "{origin}"])
async def test_a_resource_that_contains_the_address_is_named_as_it_names_itself(world: World, resource: str) -> None:
    named = resource.replace("{origin}", world.url.removesuffix("/mcp"))
    world.gate.metadata["resource"] = named
    async with connect(world.url, **world.client) as session:
        assert not (await session.call("get_customer_info", {"customer_id": "ABC123"})).is_error
    assert world.issuer.forms[0]["resource"] == named


@pytest.mark.parametrize("answer", ["not json", "[]", "{}", '{"access_token": "x", "token_type": "mac"}'])
async def test_an_answer_that_is_no_bearer_token_is_a_clear_error(world: World, answer: str) -> None:
    world.issuer.raw_answer = answer
    with pytest.raises(GarrisonError):
        async with connect(world.url, **world.client):
            pass
    assert {seen.authorization for seen in world.gate.seen} == {None}


async def test_a_token_request_is_not_redirected(world: World) -> None:
    evil = AuthServer()
    async with serving(evil.app()) as evil.issuer:
        world.issuer.token_redirect = f"{evil.issuer}/token"
        with pytest.raises(AuthorizationFailed, match="answered 307"):
            async with connect(world.url, **world.client):
                pass
    assert evil.forms == []


async def test_what_a_server_says_can_not_forge_a_line(world: World) -> None:
    world.issuer.refusal = {"error": "invalid_client", "error_description": "no\n\x1b[2Jyes"}
    with pytest.raises(AuthorizationFailed) as refused:
        async with connect(world.url, **world.client):
            pass
    assert refused.value.message.isprintable()


class Thief(AuthServer):
    """Names an honest server's authorization endpoint, and its own token endpoint."""

    def __init__(self, honest: AuthServer, **about: Any) -> None:
        super().__init__()
        quiet = {"authorization_response_iss_parameter_supported": False}
        honest.metadata = quiet
        honest.redirect_params = lambda params: {"code": params["code"], "state": params["state"]}
        self.metadata = {**quiet, "authorization_endpoint": f"{honest.issuer}/authorize", **about}


@pytest.mark.parametrize(
    "client", [{"client_id": "cli"}, {"client_metadata_url": "https://app.example/oauth/client.json"}]
)
async def test_no_code_of_one_server_is_taken_to_another_for_a_client_that_both_know(
    world: World, client: dict[str, Any]
) -> None:
    thief, browser = Thief(world.issuer, client_id_metadata_document_supported=True), Browser()
    async with serving(thief.app()) as url:
        thief.issuer = url
        world.gate.issuers = [url]
        with pytest.raises(AuthorizationFailed, match="RFC 9207") as refused:
            async with connect(world.url, login=browser.login(), **client):
                pass
    assert f"--issuer {url}" in refused.value.hint
    assert browser.urls == []
    assert thief.forms == []


async def test_a_registered_client_answers_each_issuer_at_a_path_of_its_own(world: World) -> None:
    """So that an honest server, which compares redirect URIs, lets no other server's login through."""
    world.issuer.registering, storage, browser = True, MemoryTokens(), Browser()
    thief = Thief(world.issuer, registration={})
    thief.registering, thief.registration = True, {"client_id": "registered-1"}

    async def refused(url: str) -> None:
        await browser.open(url)
        raise TimeoutError

    async with connect(world.url, login=browser.login(timeout=60), storage=storage) as session:
        assert session.token
    async with serving(thief.app()) as url:
        thief.issuer = url
        world.gate.issuers = [url]
        with pytest.raises(AuthorizationFailed, match="nobody logged in"):
            async with connect(world.url, login=Login(refused), storage=storage):
                pass
    honest, stolen = (query["redirect_uri"].partition("/callback/")[2] for query in world.issuer.authorize_queries)
    assert len(honest) == len(stolen) == 16
    assert honest != stolen
    assert browser.pages[-1].status_code == 400
    assert thief.forms == []


@pytest.mark.parametrize(
    ("issuer", "endpoint"),
    [
        ("https://login.microsoftonline.com/t/v2.0", "https://login.microsoftonline.com/t/oauth2/v2.0/authorize"),
        ("https://x.okta.com/oauth2/default", "https://x.okta.com/oauth2/default/v1/authorize"),
        ("https://sso.example/realms/r", "https://sso.example/realms/r/protocol/openid-connect/auth"),
        ("https://x.eu.auth0.com/", "https://x.eu.auth0.com/authorize"),
    ],
    ids=["entra", "okta", "keycloak", "auth0"],
)
def test_a_server_that_logs_its_users_in_itself_need_not_say_who_answers(issuer: str, endpoint: str) -> None:
    check_mix_up(ServerMetadata(issuer, f"{issuer}/token", "", endpoint))


async def test_an_issuer_that_the_user_named_may_log_its_users_in_elsewhere(world: World) -> None:
    other = AuthServer(codes=world.issuer.codes, redirect_params=lambda p: {"code": p["code"], "state": p["state"]})
    quiet = {"authorization_response_iss_parameter_supported": False}
    async with serving(other.app()) as url:
        other.issuer = url
        world.issuer.metadata = {**quiet, "authorization_endpoint": f"{url}/authorize"}
        login = Browser().login()
        async with connect(world.url, client_id="cli", issuer=world.issuer.issuer, login=login) as session:
            assert session.token
