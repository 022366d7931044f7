"""Tokens of products that don't write RFC 9068's: taken from the one issuer that is named, and verified like any."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc import jws

from garrison.base.errors import UsageError
from garrison.base.fetch import Fetcher
from garrison.clients.errors import AuthorizationFailed
from garrison.clients.means import Wanted
from garrison.clients.obtain import obtain_token
from garrison.clients.session import connect
from garrison.clients.tokens import Token
from garrison.guard.issuers import Issuer
from garrison.oauth import jwks
from garrison.oauth.issuer_shapes import ISSUER_SHAPES
from tests.clients.world import ALL, CLIENT_ID, CLIENT_SECRET, World

RSA = jwks.new_signing_key("RS256")
FORGED = jwks.SigningKey(RSA.kid, jwks.new_signing_key("RS256").private, RSA.alg)
GUID = "6731de76-14a6-49ae-97bc-6eba6914391e"
GUARDS = {
    "rfc9068": Issuer("https://a.example"),
    "keycloak": Issuer.keycloak("https://a.example/realms/a"),
    "entra": Issuer.entra(GUID, audience=GUID),
    "auth0": Issuer.auth0("a.example"),
    "okta": Issuer.okta("https://a.example/oauth2/default"),
}
HEADERS: Mapping[str, dict[str, str]] = {
    "keycloak": {"typ": "JWT"},
    "entra": {"typ": "JWT"},
    "auth0": {"typ": "JWT"},
    "okta": {},
}
SCOPES = " ".join(sorted(ALL))
CLAIMS: Mapping[str, dict[str, Any]] = {
    "keycloak": {"azp": CLIENT_ID, "scope": SCOPES, "typ": "Bearer", "jti": "1"},
    "entra": {"azp": CLIENT_ID, "scp": SCOPES, "ver": "2.0"},
    "auth0": {"azp": CLIENT_ID, "scope": SCOPES},
    "okta": {"cid": CLIENT_ID, "scp": sorted(ALL), "jti": "1"},
}
each_product = pytest.mark.parametrize("product", CLAIMS)


@pytest.fixture
async def foreign(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("tests.clients.world.KEY", RSA)
    return world


def writes(world: World, product: str, key: jwks.SigningKey = RSA, **changes: Any) -> None:
    """Let the authorization server write its tokens as `product` does; a claim that is None is left out."""

    def token(about: dict[str, Any]) -> str:
        now = int(time.time())
        times = {"iat": now, "exp": now + 900}
        claims = {"iss": about["issuer"], "sub": "u1", "aud": about["audience"], **times, **CLAIMS[product], **changes}
        header = {**HEADERS[product], "alg": key.alg, "kid": key.kid}
        return jws.serialize_compact(header, json.dumps(claims), key.private, algorithms=[key.alg])

    world.issuer.make_token = token


async def obtained(world: World, shape: str | None, **more: Any) -> Token:
    async with Fetcher(private_addresses=True) as fetcher:
        wanted = Wanted(world.url, CLIENT_ID, CLIENT_SECRET, world.issuer.issuer, issuer_shape=shape, **more)
        return await obtain_token(wanted, fetcher)


@each_product
async def test_a_products_token_is_taken_where_its_shape_is_named_and_refused_elsewhere(
    foreign: World, product: str
) -> None:
    writes(foreign, product)
    token = await obtained(foreign, product)
    assert (token.subject, token.scopes) == ("u1", ALL)
    with pytest.raises(AuthorizationFailed, match="typ") as refused:
        await obtained(foreign, None)
    assert "--issuer-shape" in refused.value.hint


@each_product
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "https://other.example/mcp"}, "another resource"),
        ({"iss": "https://other.example"}, "another issuer"),
        ({"exp": 1}, "expired"),
        ({"nonce": "n"}, "another kind"),
        ({"typ": "Refresh"}, "by its own claims"),
        ({"azp": "eve", "cid": "eve"}, "another client"),
        ({"cnf": {"jkt": "x"}}, "bound to a key"),
    ],
)
async def test_a_shape_opens_no_way_around_the_checks(
    foreign: World, product: str, changes: dict[str, Any], why: str
) -> None:
    writes(foreign, product, **changes)
    with pytest.raises(AuthorizationFailed, match=why):
        await obtained(foreign, product)


@each_product
async def test_a_forged_or_unsigned_token_is_refused_whatever_shape_it_has(foreign: World, product: str) -> None:
    writes(foreign, product, FORGED)
    with pytest.raises(AuthorizationFailed, match="signature"):
        await obtained(foreign, product)
    writes(foreign, product)
    signed = foreign.issuer.make_token
    assert signed

    def unsigned(about: dict[str, Any]) -> str:
        return f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{signed(about).split('.')[1]}."  # {"alg":"none","typ":"JWT"}

    foreign.issuer.make_token = unsigned
    with pytest.raises(AuthorizationFailed, match="does not verify"):
        await obtained(foreign, product)


@each_product
async def test_a_token_of_an_issuer_without_keys_is_refused_whatever_its_shape(foreign: World, product: str) -> None:
    writes(foreign, product)
    foreign.issuer.metadata["jwks_uri"] = ""
    with pytest.raises(AuthorizationFailed, match="publishes no keys"):
        await obtained(foreign, product)


async def test_another_audience_is_taken_only_where_the_user_names_it(foreign: World) -> None:
    writes(foreign, "entra", aud=GUID)
    assert (await obtained(foreign, "entra", token_audience=GUID)).subject == "u1"
    for audience in (None, "another"):
        with pytest.raises(AuthorizationFailed, match="another resource"):
            await obtained(foreign, "entra", token_audience=audience)


async def test_scopes_that_are_asked_for_with_a_prefix_are_granted_without_it(foreign: World) -> None:
    writes(foreign, "entra", scp="customer:read")
    foreign.issuer.grants = frozenset({"api://x/customer:read", "api://x/ticket:create"})
    token = await obtained(foreign, "entra", scope="api://x/customer:read api://x/ticket:create")
    assert token.scopes == {"customer:read", "api://x/customer:read"}
    assert ISSUER_SHAPES["okta"].granted(frozenset({"a"}), frozenset({"x/a"})) == {"a"}


@pytest.mark.parametrize("named", [{"issuer_shape": "entra"}, {"token_audience": "x"}])
async def test_a_shape_or_an_audience_belongs_to_an_issuer_that_is_named(named: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="whose tokens"):
        async with connect("https://mcp.example/mcp", client_id="c", **named):  # type: ignore[arg-type]
            pass
    with pytest.raises(UsageError, match="no issuer shape 'entra2'"):
        Wanted("https://mcp.example/mcp", "c", issuer="https://a.example", issuer_shape="entra2")


def test_the_guard_and_the_clients_know_the_same_shapes() -> None:
    assert GUARDS.keys() == ISSUER_SHAPES.keys()
    for name, issuer in GUARDS.items():
        shape = ISSUER_SHAPES[name]
        assert shape.tokens == issuer.shape(), name
        assert tuple(shape.algorithms) == tuple(issuer.algorithms), name
        assert shape.prefixed_scopes == bool(issuer.scope_prefix), name
