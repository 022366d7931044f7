"""How a refusal looks on the wire."""

import json

import pytest

from tests.guard.world import World, asgi, call


async def test_a_refusal_is_a_json_rpc_error_that_nobody_keeps(world: World) -> None:
    response = await world.client().post("/mcp", **call("forbidden"))
    assert response.json().keys() == {"jsonrpc", "id", "error"}
    assert response.json()["error"].keys() == {"code", "message"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "connection" not in response.headers


async def test_a_refusal_before_the_message_was_read_has_no_id(world: World) -> None:
    assert (await world.client(token=None).post("/mcp", **call())).json()["id"] is None


@pytest.mark.parametrize(("version", "closes"), [("1.0", True), ("1.1", True), ("2", False)])
async def test_a_connection_with_an_unread_body_is_closed_where_http_has_no_frames(
    world: World, version: str, closes: bool
) -> None:
    headers = [(b"host", b"localhost:8000"), (b"content-type", b"application/json"), (b"content-length", b"99999999")]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": headers}
    sent = await asgi(world.guard(), {**scope, "http_version": version}, [])
    assert sent[0]["status"] == 413
    assert ((b"connection", b"close") in sent[0]["headers"]) is closes
    assert json.loads(sent[1]["body"])["error"]["message"] == "The body may have at most 1048576 bytes."
