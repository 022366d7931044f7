"""Legacy sessions: an id is worth something only to the caller for whom it was made."""

from typing import Any

import httpx2
import pytest

from garrison.guard.guard import Guard
from tests.guard.world import RESOURCE, World, call, legacy


async def opened(world: World, guard: Guard, session_id: bytes = b"abc-1", **claims: Any) -> str:
    """The session id that the caller gets for the app's own."""
    world.app.session_id = session_id
    response = await world.client(guard, world.mint(**claims)).post("/mcp", **legacy("initialize"))
    world.app.session_id = None
    return str(response.headers["mcp-session-id"])


async def use(world: World, guard: Guard, bound: str, method: str = "POST", **claims: Any) -> httpx2.Response:
    world.app.scopes.clear()
    headers = {"mcp-session-id": bound}
    body = call() if method == "POST" else {}
    return await world.client(guard, world.mint(**claims)).request(method, "/mcp", **{**body, "headers": headers})


METHODS = pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])


@METHODS
async def test_the_app_sees_its_own_id_again(world: World, method: str) -> None:
    guard = world.guard()
    bound = await opened(world, guard)
    assert bound != "abc-1"
    assert (await use(world, guard, bound, method)).status_code == 200
    assert world.app.header("mcp-session-id") == "abc-1"


@METHODS
@pytest.mark.parametrize("claims", [{"subject": "bob"}, {"client_id": "phone"}], ids=str)
async def test_another_callers_session_is_as_good_as_unknown(world: World, method: str, claims: dict[str, Any]) -> None:
    guard = world.guard()
    bound = await opened(world, guard)
    response = await use(world, guard, bound, method, **claims)
    assert response.status_code == 404
    assert world.app.scopes == []
    assert response.content == (await use(world, guard, "unknown", method)).content


@METHODS
async def test_an_id_that_the_guard_did_not_make_is_unknown(world: World, method: str) -> None:
    guard = world.guard()
    bound = await opened(world, guard)
    session_id, _, mac = bound.rpartition(".")
    flipped = mac[:-2] + ("A" if mac[-2] != "A" else "B") + mac[-1]
    for wrong in ("abc-1", f"abc-1.{flipped}", f"abc-2.{mac}", f"{session_id}.", f".{mac}", "", bound + "."):
        assert (await use(world, guard, wrong, method)).status_code == 404, wrong
        assert world.app.scopes == []


async def test_ids_with_dots_come_back_whole(world: World) -> None:
    guard = world.guard()
    bound = await opened(world, guard, b"a.b.c")
    assert (await use(world, guard, bound)).status_code == 200
    assert world.app.header("mcp-session-id") == "a.b.c"


async def test_a_new_token_of_the_same_caller_keeps_the_session(world: World) -> None:
    guard = world.guard()
    bound = await opened(world, guard, jti="1")
    assert (await use(world, guard, bound, jti="2")).status_code == 200


async def test_replicas_with_one_secret_know_each_others_sessions_and_others_do_not(world: World) -> None:
    bound = await opened(world, world.guard())
    assert (await use(world, world.guard(), bound)).status_code == 200
    assert (await use(world, world.guard(secret=bytes(32)), bound)).status_code == 404


async def test_a_session_of_one_server_is_unknown_to_another_with_the_same_secret(world: World) -> None:
    bound = await opened(world, world.guard())
    other = "http://localhost:8000/other"
    client = world.client(world.guard(resource=other), world.mint(audience=other))
    response = await client.post("/other", **{**call(), "headers": {"mcp-session-id": bound}})
    assert response.status_code == 404
    assert other != RESOURCE
