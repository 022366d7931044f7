"""Tokens of each product are read as what they are, and nothing else that the product signs is an access token."""

import base64
import dataclasses
import hmac
import json
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from garrison.guard.issuers import Issuer
from garrison.guard.policy import Policy, needs
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from garrison.oauth import jwks
from garrison.oauth.access_token import KNOWN_ALGORITHMS
from garrison.oauth.jwks import SigningKey
from tests.guard.samples import API, SAMPLES, Sample
from tests.guard.world import RESOURCE, World, call

RS256 = jwks.new_signing_key("RS256")
each_product = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())


@pytest.fixture(autouse=True)
def keys_of_the_products(world: World) -> None:
    world.issuer.keys = [RS256]


def encoded(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed(world: World, sample: Sample, key: SigningKey = RS256, **changes: Any) -> str:
    header = {
        name: value for name, value in {**sample.header, **changes.pop("header", {})}.items() if value is not None
    }
    return world.issuer.sign(header, sample.token_claims(world.issuer.url, world.clock(), **changes), key)


async def status(world: World, sample: Sample, token: str) -> int:
    guard = world.guard(issuer=sample.at(world.issuer.url))
    return (await world.client(guard, token).post("/mcp", **call("whoami", {}))).status_code


@each_product
async def test_the_access_tokens_of_each_product_are_accepted_and_read(world: World, sample: Sample) -> None:
    guard = world.guard(issuer=sample.at(world.issuer.url))
    response = await world.client(guard, signed(world, sample)).post("/mcp", **call())
    assert response.status_code == 200, response.text
    token = world.app.scopes[-1]["user"].access_token
    assert token.client_id == sample.client
    assert frozenset(token.scopes) == sample.scopes
    assert token.subject == sample.claims["sub"]


OTHERS = [(sample, other, f"{name}: {other}") for name, sample in SAMPLES.items() for other in sample.others]


@pytest.mark.parametrize(("sample", "other"), [case[:2] for case in OTHERS], ids=[case[2] for case in OTHERS])
async def test_what_else_a_product_signs_is_no_access_token(world: World, sample: Sample, other: str) -> None:
    header, claims = sample.others[other]
    assert await status(world, sample, signed(world, sample, header=header, **claims)) == 401
    assert world.app.scopes == []


@each_product
@pytest.mark.parametrize(
    "audience", ["https://other.example/mcp", None, RESOURCE + "/", "account", "api://" + API, ["x"]], ids=str
)
async def test_a_token_of_each_product_for_a_foreign_audience_is_refused(
    world: World, sample: Sample, audience: Any
) -> None:
    assert await status(world, sample, signed(world, sample, aud=audience)) == 401


@each_product
async def test_an_unsigned_token_of_each_product_is_refused(world: World, sample: Sample) -> None:
    head, payload, _ = signed(world, sample).split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    for alg in ("none", "None", "NONE"):
        assert await status(world, sample, f"{encoded({**header, 'alg': alg})}.{payload}.") == 401


@each_product
@pytest.mark.parametrize("alg", ["HS256", "HS512"])
async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused_for_each_product(
    world: World, sample: Sample, alg: str
) -> None:
    head, payload, _ = signed(world, sample).split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    message = f"{encoded({**header, 'alg': alg})}.{payload}"
    for secret in (cast("RSAKey", RS256.private).as_pem(private=False), json.dumps(RS256.public()).encode()):
        mac = hmac.digest(secret, message.encode(), "sha256" if alg == "HS256" else "sha512")
        assert await status(world, sample, f"{message}.{encoded(mac)}") == 401


@each_product
async def test_nothing_of_the_token_of_each_product_reaches_the_app(world: World, sample: Sample) -> None:
    token = signed(world, sample)
    assert await status(world, sample, token) == 200
    seen = repr(world.app.scopes[-1]) + repr(vars(world.app.scopes[-1]["user"]))
    assert not any(part in seen for part in (token, token.split(".")[2]))
    assert world.app.header("authorization") is None


@each_product
async def test_a_key_that_the_token_brings_along_is_never_used(world: World, sample: Sample) -> None:
    """RFC 8725 §3.10: jwk, jku, x5u and x5c are the stranger's own words."""
    stranger = jwks.new_signing_key("RS256")
    lure = {"jwk": stranger.public(), "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5u"}
    for kid in (RS256.kid, stranger.kid):
        token = signed(world, sample, dataclasses.replace(stranger, kid=kid), header={**lure, "x5c": ["AAAA"]})
        assert await status(world, sample, token) == 401


@each_product
async def test_a_header_with_certificates_passes_up_to_a_bound(world: World, sample: Sample) -> None:
    certificate = "M" * 1800
    token = signed(world, sample, header={"x5c": [certificate] * 3, "x5t": "x", "x5t#S256": "y"})
    assert await status(world, sample, token) == 200
    assert await status(world, sample, signed(world, sample, header={"x5c": [certificate] * 4})) == 401
    assert await status(world, sample, signed(world, sample, header={"crit": ["x5c"], "x5c": []})) == 401


@each_product
async def test_another_issuers_url_is_never_nearly_right(world: World, sample: Sample) -> None:
    for url in (world.issuer.url + "/", world.issuer.url.upper(), sample.issuer.url):
        assert await status(world, sample, signed(world, sample, iss=url)) == 401


async def test_a_key_of_one_issuer_verifies_no_token_of_another_even_under_the_same_name(world: World) -> None:
    other = world.issuer_host.new_issuer()
    theirs = jwks.new_signing_key("RS256")
    other.keys = [SigningKey(RS256.kid, theirs.private, "RS256")]
    keycloak, okta = SAMPLES["Keycloak"], SAMPLES["Okta"]
    guard = world.guard(issuer=[keycloak.at(world.issuer.url), okta.at(other.url)])
    for sample, url, key, expected in [
        (keycloak, world.issuer.url, RS256, 200),
        (okta, other.url, other.keys[0], 200),
        (keycloak, world.issuer.url, other.keys[0], 401),
        (okta, other.url, RS256, 401),
        (okta, world.issuer.url, RS256, 401),
        (keycloak, other.url, other.keys[0], 401),
    ]:
        token = world.issuer.sign(sample.header, sample.token_claims(url, world.clock()), key)
        response = await world.client(guard, token).post("/mcp", **call("whoami", {}))
        assert response.status_code == expected


async def test_the_same_subject_and_client_of_two_issuers_have_each_a_budget(world: World) -> None:
    """They are two principals (RFC 9068 §5)."""
    other = world.issuer_host.new_issuer()
    world.issuer.keys = other.keys
    limiter = Limiter(LimitSettings(requests_per_minute=1))
    guard = world.guard(issuer=[world.issuer.url, Issuer(other.url)], limiter=limiter)
    for issuer, expected in ((world.issuer, 200), (other, 200), (world.issuer, 429), (other, 429)):
        token = issuer.mint(now=world.clock())
        assert (await world.client(guard, token).post("/mcp", **call())).status_code == expected


@pytest.mark.parametrize(
    "changes", [{"scp": ["other customer:read"]}, {"scp": [1]}, {"scp": {"a": 1}}, {"scp": 'a"b'}, {"scp": None}]
)
async def test_malformed_scopes_open_nothing(world: World, changes: dict[str, Any]) -> None:
    okta = SAMPLES["Okta"]
    guard = world.guard(issuer=okta.at(world.issuer.url))
    response = await world.client(guard, signed(world, okta, **changes)).post("/mcp", **call())
    assert response.status_code in (401, 403)
    assert world.app.scopes == []


@pytest.mark.parametrize(
    "changes", [{"cid": ""}, {"cid": 7}, {"cid": None, "client_id": "desk"}, {"sub": ""}, {"jti": 1}]
)
async def test_a_token_without_a_proper_client_and_subject_is_refused(world: World, changes: dict[str, Any]) -> None:
    okta = SAMPLES["Okta"]
    assert await status(world, okta, signed(world, okta, **changes)) == 401


async def test_published_keys_may_have_members_that_nobody_here_reads(world: World) -> None:
    """Entra's have no `alg`, but certificates and an issuer of their own; Keycloak's are beside keys for encryption."""
    entra = SAMPLES["Entra, a user"]
    plain = {name: value for name, value in RS256.public().items() if name != "alg"}
    other = {**jwks.new_signing_key("RS256").public(), "use": "enc", "alg": "RSA-OAEP", "kid": "e"}
    more = {"x5c": ["MIIC"], "x5t": "x", "x5t#S256": "y", "issuer": "https://login.example/v2.0", "cloud": "z"}
    world.issuer.key_set = {"keys": [other, {**plain, **more}]}
    assert await status(world, entra, signed(world, entra)) == 200


async def test_a_users_roles_do_not_widen_what_the_client_was_granted(world: World) -> None:
    """Entra puts the user's roles beside the client's scopes; the client may act for the scopes alone."""
    user = SAMPLES["Entra, a user"]
    token = signed(world, user, scp="other", roles=["customer:read"])
    guard = world.guard(issuer=user.at(world.issuer.url))
    assert (await world.client(guard, token).post("/mcp", **call())).status_code == 403


async def test_keys_of_an_issuer_without_metadata_are_found_where_it_says(world: World) -> None:
    issuer = Issuer(world.issuer.url, jwks_uri=world.issuer.url + "/jwks")
    token = world.mint(key=RS256)
    assert (await world.client(world.guard(issuer=issuer), token).post("/mcp", **call())).status_code == 200
    assert world.issuer.fetched == ["/jwks"]


@pytest.mark.parametrize(
    ("accepted", "typ", "expected"),
    [
        ("Application/AT+JWT", "at+jwt", 200),
        ("at+jwt", "application/AT+jwt", 200),
        ("jwt", "JWT", 200),
        ("JWT", "application/jwt", 200),
        ("JWT", "at+jwt", 401),
        ("JWT", None, 401),
        ("at+jwt", "JWT", 401),
        ("jwt", "x-jwt", 401),
    ],
)
async def test_the_type_is_compared_in_any_case_and_with_or_without_application(
    world: World, accepted: str, typ: str | None, expected: int
) -> None:
    garrison = SAMPLES["Garrison"]
    guard = world.guard(issuer=Issuer(world.issuer.url, token_types=[accepted]))
    response = await world.client(guard, signed(world, garrison, header={"typ": typ})).post("/mcp", **call())
    assert response.status_code == expected


def key_for(alg: str) -> SigningKey:
    """A new key for any algorithm that may be configured."""
    curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
    private: RSAKey | ECKey | OKPKey
    if alg in curve:
        private = ECKey.generate_key(curve[alg])
    else:
        private = OKPKey.generate_key("Ed25519") if alg.startswith("Ed") else RSAKey.generate_key(2048)
    return SigningKey(private.thumbprint(), private, alg)


@pytest.mark.parametrize("alg", sorted(KNOWN_ALGORITHMS))
async def test_every_algorithm_that_can_be_configured_works_where_it_is_and_nowhere_else(
    world: World, alg: str
) -> None:
    world.issuer.keys = [key := key_for(alg)]
    token = signed(world, SAMPLES["Garrison"], key)
    others = sorted(KNOWN_ALGORITHMS - {alg})
    for algorithms, expected in (([alg], 200), (others, 401)):
        guard = world.guard(issuer=Issuer(world.issuer.url, algorithms=algorithms))
        assert (await world.client(guard, token).post("/mcp", **call())).status_code == expected


async def test_an_issuer_can_be_held_to_fewer_algorithms(world: World) -> None:
    issuer = Issuer(world.issuer.url, algorithms=["ES256"])
    assert (
        await world.client(world.guard(issuer=issuer), world.mint(key=RS256)).post("/mcp", **call())
    ).status_code == 401


async def test_the_metadata_names_every_issuer(world: World) -> None:
    guard = world.guard(issuer=["https://a.example", Issuer.auth0("acme.eu.auth0.com")])
    for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"):
        document = (await world.client(guard, None).get(path)).json()
        assert document["authorization_servers"] == ["https://a.example", "https://acme.eu.auth0.com/"]


async def test_clients_are_told_to_ask_for_scopes_as_their_issuer_wants_them_asked_for(world: World) -> None:
    """Entra's clients ask for api://…/customer:read and get a token that says customer:read."""
    entra = SAMPLES["Entra, a user"]
    asked = f"api://{API}/customer:read"
    guard = world.guard(issuer=entra.at(world.issuer.url), policy=Policy(tools={"whoami": needs("customer:read")}))
    stranger = await world.client(guard, None).post("/mcp", **call("whoami", {}))
    caller = await world.client(guard, signed(world, entra, scp="other")).post("/mcp", **call("whoami", {}))
    for response, status_code in ((stranger, 401), (caller, 403)):
        assert response.status_code == status_code
        assert f'scope="{asked}"' in response.headers["www-authenticate"]
    assert caller.json()["error"]["data"]["scope"] == asked
    metadata = await world.client(guard, None).get("/.well-known/oauth-protected-resource")
    assert metadata.json()["scopes_supported"] == [asked]
    allowed = await world.client(guard, signed(world, entra, scp="customer:read")).post("/mcp", **call("whoami", {}))
    assert allowed.status_code == 200


async def test_of_issuers_that_want_scopes_asked_for_differently_each_ones_callers_are_told_right(world: World) -> None:
    entra = SAMPLES["Entra, a user"]
    other = Issuer("https://login.example", scope_prefix="other:")
    guard = world.guard(issuer=[other, entra.at(world.issuer.url)])
    caller = await world.client(guard, signed(world, entra, scp="other")).post("/mcp", **call())
    assert f'scope="api://{API}/customer:read"' in caller.headers["www-authenticate"]
    stranger = await world.client(guard, None).post("/mcp", **call())
    assert 'scope="customer:read ' in stranger.headers["www-authenticate"]
