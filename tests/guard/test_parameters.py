"""Headers that repeat an argument (`x-mcp-header`) say what the tool gets, or the call ends at the guard."""

import json
from typing import Any

import pytest
from mcp.shared.inbound import encode_header_value
from mcp_types.jsonrpc import HEADER_MISMATCH

from garrison.base.events import Kind
from garrison.content.schema import ToolSchemas
from garrison.guard.policy import Policy
from garrison.guard.rule import Rule
from tests.guard.world import World, asgi, legacy, modern

POLICY = Policy(tools={name: Rule() for name in ("query", "plain", "broken")})
REGION = {"type": "string", "x-mcp-header": "Region"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "query": {"type": "object", "properties": {"region": REGION, "rows": {"type": "integer", "x-mcp-header": "Rows"}}},
    "plain": {"type": "object", "properties": {"region": {"type": "string"}}},
    "broken": {"type": "object", "properties": {"a": REGION, "b": REGION}},
}


async def answered(world: World, request: dict[str, Any]) -> Any:
    guard = world.guard(policy=POLICY, schemas=ToolSchemas(SCHEMAS))
    return await world.client(guard).post("/mcp", **request)


def query(arguments: dict[str, Any] | None, tool: str = "query", **headers: str) -> dict[str, Any]:
    return modern("tools/call", {"name": tool, "arguments": arguments}, **headers)


@pytest.mark.parametrize(
    "request_",
    [
        query({"region": "eu"}, mcp_param_region="eu"),
        query({"region": "eu", "rows": 7}, mcp_param_region="eu", mcp_param_rows="7"),
        query({"region": "Zürich"}, mcp_param_region=encode_header_value("Zürich")),
        query({}),
        query(None),
        query({"region": "eu"}, "plain"),
        query({"region": "eu"}, "plain", mcp_param_region="us"),  # this tool has nothing repeated
        query({"a": "eu", "b": "us"}, "broken"),  # clients send nothing for what is declared wrongly
        legacy("tools/call", {"name": "query", "arguments": {"region": "eu"}}),
    ],
    ids=lambda request: json.dumps([request["json"]["params"].get("arguments"), request["headers"]])[:150],
)
async def test_headers_that_agree_or_have_nothing_to_say_pass(world: World, request_: dict[str, Any]) -> None:
    assert (await answered(world, request_)).status_code == 200
    assert len(world.app.scopes) == 1


OLD = legacy("tools/call", {"name": "query", "arguments": {"region": "eu"}})


@pytest.mark.parametrize(
    "request_",
    [
        query({"region": "eu"}, mcp_param_region="us"),
        query({"region": "eu"}),
        query({}, mcp_param_region="eu"),
        query(None, mcp_param_region="eu"),
        query({"region": "eu", "rows": 7}, mcp_param_region="eu", mcp_param_rows="70"),
        query({"region": "eu"}, mcp_param_region="=?base64?*?="),
        {**OLD, "headers": {**OLD["headers"], "mcp-param-region": "us"}},
    ],
    ids=lambda request: json.dumps([request["json"]["params"].get("arguments"), request["headers"]])[:150],
)
async def test_a_header_that_says_another_thing_ends_the_call(world: World, request_: dict[str, Any]) -> None:
    response = await answered(world, request_)
    assert (response.status_code, response.json()["error"]["code"]) == (400, HEADER_MISMATCH)
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.REQUEST_REJECTED]


@pytest.mark.parametrize("values", [[b"eu", b"us"], ["=?base64?Zürich?=".encode()], [b"\xff"]], ids=str)
async def test_a_header_that_comes_twice_or_is_not_ascii_ends_the_call(world: World, values: list[bytes]) -> None:
    request = query({"region": "eu, us"})  # which is what two headers together say
    headers = {**request["headers"], "host": "localhost:8000", "content-type": "application/json"}
    headers["authorization"] = f"Bearer {world.mint()}"
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/mcp",
        "headers": [
            *((name.encode(), value.encode()) for name, value in headers.items()),
            *((b"mcp-param-region", value) for value in values),
        ],
        "client": ("127.0.0.1", 50000),
    }
    body = {"type": "http.request", "body": json.dumps(request["json"]).encode()}
    sent = await asgi(world.guard(policy=POLICY, schemas=ToolSchemas(SCHEMAS)), scope, [body])
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["error"]["code"] == HEADER_MISMATCH
    assert world.app.scopes == []
