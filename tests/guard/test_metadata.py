"""RFC 9728: the protected-resource metadata, the one document for strangers."""

import pytest

from tests.guard.world import RESOURCE, World

PLACES = ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"]


@pytest.mark.parametrize("path", [*PLACES, *(f"{path}/" for path in PLACES)])
async def test_metadata_is_served_without_a_token_at_both_places_with_a_slash_or_without(
    world: World, path: str
) -> None:
    response = await world.client(token=None).get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "resource": RESOURCE,
        "authorization_servers": [world.issuer.url],
        "scopes_supported": ["customer:read", "security:read", "ticket:create"],
        "bearer_methods_supported": ["header"],
    }
    assert world.app.scopes == []


async def test_pages_of_any_origin_may_read_the_metadata(world: World) -> None:
    origin = {"origin": "https://app.example"}
    response = await world.client(token=None).get(PLACES[0], headers=origin)
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"] == "public, max-age=3600"
    preflight = await world.client(token=None).options(PLACES[0], headers=origin)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "mcp-protocol-version"
    assert preflight.headers["access-control-allow-methods"] == "GET, OPTIONS"
    assert preflight.headers["access-control-max-age"] == "3600"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_metadata_can_only_be_read(world: World, method: str) -> None:
    response = await world.client().request(method, PLACES[0])
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, OPTIONS"


async def test_metadata_of_a_server_at_the_root_has_one_place(world: World) -> None:
    client = world.client(world.guard(resource="http://localhost:8000"), token=None)
    assert (await client.get(PLACES[1])).json()["resource"] == "http://localhost:8000"
    assert (await client.get(PLACES[0])).status_code == 404
