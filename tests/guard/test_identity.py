"""What the app sees of the caller: who it is, and never its token."""

from typing import Any

import httpx2
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from starlette.types import Receive, Scope, Send

from tests.guard.world import RESOURCE, SCOPE, World, call


async def seen(world: World, token: str, **headers: str) -> tuple[Scope, AccessToken]:
    """The scope and the identity that an app sees of a call with `token`."""
    tokens: list[AccessToken | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tokens.append(get_access_token())
        await world.app(scope, receive, send)

    response: httpx2.Response = await world.client(world.guard(app), token).post(
        "/mcp", **{**call(), "headers": {name.replace("_", "-"): value for name, value in headers.items()}}
    )
    assert response.status_code == 200
    assert tokens[0]
    return world.app.scopes[-1], tokens[0]


async def test_the_app_knows_who_calls(world: World) -> None:
    scope, token = await seen(world, world.mint())
    assert (token.client_id, token.subject, token.resource) == ("desk", "alice", RESOURCE)
    assert token.scopes == scope["auth"].scopes == sorted(SCOPE.split())
    assert token.claims
    assert token.claims["iss"] == world.issuer.url
    assert token.expires_at == int(world.clock()) + 900
    assert scope["user"].access_token is token


async def test_the_app_never_sees_the_token(world: World) -> None:
    bearer = world.mint()
    scope, token = await seen(world, bearer, proxy_authorization="Basic abc")
    assert bearer.rpartition(".")[2] not in f"{scope} {token!r}"
    names = [name for name, _ in scope["headers"]]
    assert b"authorization" not in names
    assert b"proxy-authorization" not in names


async def test_two_tokens_of_one_caller_look_as_different_as_they_are(world: World) -> None:
    """FastMCP keys its response cache by the token; one name for all would let callers read each other's answers."""
    one, other = world.mint(jti="1"), world.mint(jti="2")
    names = [(await seen(world, token))[1].token for token in (one, one, other)]
    assert names[0] == names[1] != names[2]


async def test_nothing_that_a_server_put_in_the_scope_can_speak_for_the_caller(world: World) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await world.app(scope, receive, send)

    guard = world.guard(app)

    async def in_front(scope: Scope, receive: Receive, send: Send) -> None:
        extras: dict[str, Any] = {"user": "admin", "auth": "all", "extensions": {"http.response.pathsend": {}}}
        await guard({**scope, **extras}, receive, send)

    await world.client(in_front).post("/mcp", **call())
    assert scopes[0]["user"].access_token.subject == "alice"
    assert scopes[0]["auth"].scopes == sorted(SCOPE.split())
    assert scopes[0]["extensions"] == {}


async def test_identity_does_not_outlive_the_call(world: World) -> None:
    await seen(world, world.mint())
    assert get_access_token() is None
