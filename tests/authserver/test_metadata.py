"""Statements 1 to 4 and 48: what the server says of itself."""

import pytest

from garrison.authserver.token import GRANTS
from garrison.oauth import jwks, server_metadata
from tests.authserver.world import ISSUER, RESOURCE, Make, World

OAUTH, OPENID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("issuer", "paths"),
    [
        (ISSUER, [OAUTH, OPENID]),
        ("https://auth.example/tenant/one", [f"{OAUTH}/tenant/one", f"{OPENID}/tenant/one", f"/tenant/one{OPENID}"]),
        ("http://localhost:8080", [OAUTH, OPENID]),
    ],
)
async def test_01_every_well_known_document_has_the_one_exact_issuer(
    make_world: Make, issuer: str, paths: list[str]
) -> None:
    world = await make_world(issuer=issuer)
    async with world.browser() as http:
        for path in paths:
            document = (await http.get(path)).json()
            assert server_metadata.check(document, issuer).issuer == issuer


async def test_01_every_advertised_endpoint_is_there(make_world: Make) -> None:
    world = await make_world(issuer="https://auth.example/tenant")
    async with world.browser() as http:
        document = (await http.get("/.well-known/oauth-authorization-server/tenant")).json()
        for name in (
            "authorization_endpoint",
            "token_endpoint",
            "revocation_endpoint",
            "introspection_endpoint",
            "jwks_uri",
        ):
            assert document[name].startswith("https://auth.example/tenant/")
            assert (await http.get(document[name])).status_code != 404, name


async def test_02_only_what_works_is_advertised(world: World) -> None:
    async with world.browser() as http:
        document = (await http.get("/.well-known/oauth-authorization-server")).json()
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["response_types_supported"] == ["code"]
    assert document["grant_types_supported"] == list(GRANTS)
    assert document["scopes_supported"] == ["customer:read", "security:read", "ticket:create"]
    assert document["protected_resources"] == [RESOURCE]
    assert document["authorization_response_iss_parameter_supported"] is True
    methods = {"client_secret_basic", "client_secret_post", "private_key_jwt"}
    for endpoint, public in (("token", {"none"}), ("revocation", {"none"}), ("introspection", set[str]())):
        assert set(document[f"{endpoint}_endpoint_auth_methods_supported"]) == methods | public
        algorithms = document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        assert set(algorithms) == {"RS256", "PS256", "ES256", "EdDSA"}
    assert not {"registration_endpoint", "userinfo_endpoint"} & document.keys()


async def test_03_the_issuer_never_comes_from_a_header(world: World) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    async with world.browser() as http:
        for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
            response = await http.get(path, headers={**forged, "Forwarded": "host=evil.example"})
            assert "evil.example" not in response.text
            assert response.json()["issuer"] == ISSUER


async def test_04_the_key_set_holds_public_keys_only_with_kids(make_world: Make) -> None:
    signing = [jwks.new_signing_key(alg) for alg in ("RS256", "ES256", "EdDSA")]
    world = await make_world(signing_keys=signing)
    async with world.browser() as http:
        keys = (await http.get("/jwks")).json()["keys"]
    public = [{"n", "e"}, {"crv", "x", "y"}, {"crv", "x"}]
    assert [set(key) - {"kty", "kid", "use", "alg"} for key in keys] == public
    assert [key["kid"] for key in keys] == [key.kid for key in signing]


async def test_48_scripts_of_any_origin_read_metadata_keys_and_tokens_but_never_authorize(world: World) -> None:
    preflight = {"Origin": "https://spa.example", "Access-Control-Request-Method": "POST"}
    async with world.browser() as http:
        for path in ("/.well-known/oauth-authorization-server", "/jwks"):
            response = await http.get(path, headers={"Origin": "https://spa.example"})
            assert response.headers["access-control-allow-origin"] == "*"
        for path in ("/token", "/revoke"):
            allowed = await http.options(path, headers={**preflight, "Access-Control-Request-Headers": "authorization"})
            assert allowed.status_code == 200
            refused = await http.post(path, headers={"Origin": "https://spa.example"}, data={"a": "b"})
            for response in (allowed, refused):
                assert response.headers["access-control-allow-origin"] == "*"
                assert "access-control-allow-credentials" not in response.headers
        for path in ("/authorize", "/login", "/consent", "/logout"):
            for response in (await http.options(path, headers=preflight), await http.get(path, headers=preflight)):
                assert not any(name.startswith("access-control") for name in response.headers), path
