"""RFC 6750, RFC 9068 and RFC 8707: who may be believed to be calling."""

import base64
import hmac
import json
import time
from typing import Any, cast

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from garrison.base.events import Kind
from garrison.guard import authenticate, keys, verify
from garrison.oauth import challenge, jwks
from tests.guard.world import KEY, RESOURCE, World, call

METADATA = "http://localhost:8000/.well-known/oauth-protected-resource/mcp"
SCOPES = "customer:read security:read ticket:create"


def forge(world: World, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token signed with the issuer's own key, with a header and claims that the issuer would not write."""
    now = int(world.clock())
    good = {
        "iss": world.issuer.url,
        "sub": "alice",
        "client_id": "desk",
        "aud": RESOURCE,
        "scope": SCOPES,
        "iat": now,
        "exp": now + 900,
        "jti": "1",
    }
    members = {name: value for name, value in {**good, **claims}.items() if value is not None}
    return jws.serialize_compact(
        {"typ": "at+jwt", "alg": KEY.alg, "kid": KEY.kid, **(header or {})}, json.dumps(members), KEY.private
    )


def encoded(header: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")


async def refused(world: World, token: str) -> None:
    response = await world.client(token=token).post("/mcp", **call())
    assert response.status_code == 401, response.text
    params = challenged(response)
    assert params["error"] == "invalid_token"
    assert params["resource_metadata"] == METADATA
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.AUTHENTICATION_FAILED]
    assert token not in str(world.events.events) + response.text


def challenged(response: httpx2.Response) -> dict[str, str]:
    found = challenge.bearer(response.headers.get_list("www-authenticate"))
    assert found
    return dict(found.params)


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_without_a_token_the_challenge_says_where_to_begin_and_no_error(world: World, method: str) -> None:
    response = await world.client(token=None).request(method, "/mcp", headers={"content-type": "application/json"})
    assert response.status_code == 401
    assert challenged(response) == {"resource_metadata": METADATA, "scope": SCOPES}
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.REQUEST_REJECTED]


@pytest.mark.parametrize("scheme", ["Basic dXNlcjpwYXNz", "DPoP abc", "bearertoken", ""])
async def test_another_scheme_is_no_token_at_all(world: World, scheme: str) -> None:
    response = await world.client(token=None).post("/mcp", **{**call(), "headers": {"authorization": scheme}})
    assert response.status_code == 401
    assert "error" not in challenged(response)


@pytest.mark.parametrize("credentials", ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer =", "Bearer a\tb"])
async def test_malformed_credentials_are_an_invalid_request(world: World, credentials: str) -> None:
    response = await world.client(token=None).post("/mcp", **{**call(), "headers": {"authorization": credentials}})
    assert response.status_code == 400
    assert challenged(response)["error"] == "invalid_request"
    assert world.app.scopes == []


async def test_the_scheme_is_found_in_any_case(world: World) -> None:
    response = await world.client(token=None).post(
        "/mcp", **{**call(), "headers": {"authorization": f"bEARER  {world.mint()}"}}
    )
    assert response.status_code == 200


async def test_a_token_of_another_key_is_refused(world: World) -> None:
    stranger = jwks.new_signing_key("ES256")
    await refused(world, world.mint(key=jwks.SigningKey(KEY.kid, stranger.private, "ES256")))


async def test_a_token_of_another_audience_is_refused(world: World) -> None:
    await refused(world, world.mint(audience="http://localhost:9000/mcp"))


async def test_a_token_of_another_issuer_is_refused_and_nobody_is_asked_for_its_keys(world: World) -> None:
    await refused(world, world.mint(issuer=world.issuer.url + "/"))
    assert world.issuer.fetched == []


@pytest.mark.parametrize("age", [931, 10_000])
async def test_an_expired_token_is_refused(world: World, age: int) -> None:
    await refused(world, world.mint(now=world.clock() - age, lifetime=900))


async def test_the_leeway_is_at_most_a_minute(world: World) -> None:
    assert verify.LEEWAY <= 60
    token = world.mint(now=world.clock() - 900 - verify.LEEWAY + 1, lifetime=900)
    assert (await world.client(token=token).post("/mcp", **call())).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
        {"cnf": {"jkt": "abc"}},
        {"sub": None},
        {"client_id": None},
        {"jti": None},
        {"aud": None},
        {"aud": RESOURCE + "/x"},
        {"iss": None},
        {"scope": 'quo"te'},
    ],
    ids="-".join,
)
async def test_a_token_with_a_wrong_claim_is_refused(world: World, claims: dict[str, Any]) -> None:
    await refused(world, forge(world, **claims))


@pytest.mark.parametrize("typ", ["JWT", "id+jwt", "dpop+jwt", ""])
async def test_only_access_tokens_are_believed(world: World, typ: str) -> None:
    await refused(world, forge(world, {"typ": typ}))


async def test_a_token_that_says_what_a_good_one_says_is_accepted(world: World) -> None:
    """Else the refusals of forged tokens would prove nothing."""
    assert (await world.client(token=forge(world)).post("/mcp", **call())).status_code == 200


async def test_an_unsigned_token_is_refused(world: World) -> None:
    _, payload, _ = world.mint().split(".")
    await refused(world, f"{encoded({'typ': 'at+jwt', 'alg': 'none', 'kid': KEY.kid})}.{payload}.")


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(world: World) -> None:
    _, payload, _ = world.mint().split(".")
    signed = f"{encoded({'typ': 'at+jwt', 'alg': 'HS256', 'kid': KEY.kid})}.{payload}"
    public = cast("ECKey", KEY.private).as_pem(private=False)
    mac = hmac.digest(public, signed.encode(), "sha256")
    await refused(world, f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")


@pytest.mark.parametrize("token", ["x", "a.b.c", "a.b.c.d.e", "." * 100, "e30.e30.e30", "A" * 20_000])
async def test_a_token_that_is_none_is_refused(world: World, token: str) -> None:
    await refused(world, token)


async def test_a_changed_token_is_refused_after_the_good_one_was_seen(world: World) -> None:
    client = world.client(guard := world.guard())
    assert (await client.post("/mcp", **call())).status_code == 200
    head, payload, signature = world.mint().split(".")
    more = base64.urlsafe_b64decode(payload + "==").replace(b"alice", b"admin")
    forged = base64.urlsafe_b64encode(more).decode().rstrip("=")
    response = await world.client(guard, f"{head}.{forged}.{signature}").post("/mcp", **call())
    assert response.status_code == 401


async def test_a_remembered_token_still_expires(world: World) -> None:
    token = world.mint(lifetime=20)
    client = world.client(token=token)
    assert (await client.post("/mcp", **call())).status_code == 200
    world.clock.now += 20 + verify.LEEWAY
    assert (await client.post("/mcp", **call())).status_code == 401


async def test_a_remembered_token_is_judged_anew_after_a_minute(world: World) -> None:
    """So that a key that the issuer takes back is noticed."""
    client = world.client()
    assert (await client.post("/mcp", **call())).status_code == 200
    world.issuer.keys = [jwks.new_signing_key("ES256")]
    world.clock.now += 301
    assert (await client.post("/mcp", **call())).status_code == 401


async def test_a_token_is_remembered_for_a_minute_and_no_longer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "OUTAGE_LIMIT", 1)  # so that nothing but memory could answer
    client = world.client()
    assert (await client.post("/mcp", **call())).status_code == 200
    world.issuer.down = True
    world.clock.now += verify.REMEMBERED_FOR - 1
    assert (await client.post("/mcp", **call())).status_code == 200
    world.clock.now += 1
    assert (await client.post("/mcp", **call())).status_code == 503


async def test_a_clock_that_was_set_back_makes_no_memory_last(world: World) -> None:
    client = world.client()
    assert (await client.post("/mcp", **call())).status_code == 200
    world.clock.now -= 3600
    assert (await client.post("/mcp", **call())).status_code == 401


async def test_as_many_tokens_are_remembered_as_are_in_use_but_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "REMEMBERED_TOKENS", 2)
    monkeypatch.setattr(keys, "OUTAGE_LIMIT", 1)
    guard = world.guard()
    clients = {jti: world.client(guard, world.mint(jti=jti)) for jti in "abc"}
    for jti in "abac":
        assert (await clients[jti].post("/mcp", **call())).status_code == 200
    world.issuer.down = True
    world.clock.now += 2
    for jti, status in [("a", 200), ("b", 503), ("c", 200)]:
        assert (await clients[jti].post("/mcp", **call())).status_code == status


async def test_the_event_says_what_the_answer_does_not(world: World) -> None:
    stranger = jwks.SigningKey("a-key-of-mine", jwks.new_signing_key("ES256").private, "ES256")
    response = await world.client(token=world.mint(key=stranger)).post("/mcp", **call())
    assert "a-key-of-mine" in world.events.events[0].reason
    assert "a-key-of-mine" not in response.text + str(response.headers)


async def test_any_of_several_issuers_is_believed_with_its_own_keys_only(world: World) -> None:
    other = world.issuer_host.new_issuer()
    other.keys = [jwks.new_signing_key("ES256")]
    guard = world.guard(issuer=[world.issuer.url, other.url])
    good = [world.mint(), world.mint(issuer=other.url, key=other.keys[0])]
    bad = [world.mint(key=other.keys[0]), world.mint(issuer=other.url)]
    for token, status in [(good[0], 200), (good[1], 200), (bad[0], 401), (bad[1], 401)]:
        assert (await world.client(guard, token).post("/mcp", **call())).status_code == status


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
async def test_the_asymmetric_algorithms_of_access_tokens_are_accepted(world: World, alg: str) -> None:
    world.issuer.keys = [jwks.new_signing_key(alg)]
    token = world.mint(key=world.issuer.keys[0])
    assert (await world.client(token=token).post("/mcp", **call())).status_code == 200
