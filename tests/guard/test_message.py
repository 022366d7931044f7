"""One JSON-RPC message per POST, and headers that say what the body says (MCP 2026-07-28, -32020)."""

import json
from typing import Any

import httpx2
import pytest
from mcp.shared.inbound import encode_header_value
from mcp_types import PROTOCOL_VERSION_META_KEY
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from garrison.base.events import Kind
from tests.guard.world import MODERN, World, asgi, call, legacy, modern

READ = {"name": "get_customer_info", "arguments": {"customer_id": "ABC123"}}
JSON = {"content-type": "application/json"}


def refused(world: World, response: httpx2.Response, code: int) -> None:
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == code
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.REQUEST_REJECTED]


async def test_the_app_gets_the_very_bytes_that_were_judged(world: World) -> None:
    body = b'{ "jsonrpc" : "2.0", "id":1 ,\n"method":"ping" }  '
    assert (await world.client().post("/mcp", content=body, headers=JSON)).status_code == 200
    assert world.app.bodies == [body]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_body_that_nobody_judges_does_not_reach_the_app(world: World, method: str) -> None:
    bodies: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append(await Request(scope, receive).body())
        await world.app(scope, receive, send)

    smuggled = call("forbidden")["json"]
    assert (await world.client(world.guard(app)).request(method, "/mcp", json=smuggled)).status_code == 200
    assert bodies == [b""]


async def test_the_app_of_a_body_that_nobody_judges_still_learns_that_its_client_has_gone(world: World) -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.extend([(await receive())["type"], (await receive())["type"]])

    headers = [(b"host", b"localhost:8000"), (b"authorization", f"Bearer {world.mint()}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/mcp", "headers": headers, "query_string": b""}
    parts: list[Any] = [{"type": "http.request", "body": b"x", "more_body": more} for more in (True, False)]
    await asgi(world.guard(app), scope, [*parts, {"type": "http.disconnect"}])
    assert heard == ["http.request", "http.disconnect"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","name":"forbidden"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\\ud800"}}',
        b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"ping"}',
        b"null x",
    ],
    ids=range(11),
)
async def test_json_that_two_parsers_could_read_differently_is_refused(world: World, body: bytes) -> None:
    refused(world, await world.client().post("/mcp", content=body, headers=JSON), -32700)


@pytest.mark.parametrize(
    "body",
    [
        [],
        [call()["json"]],
        [call()["json"], call()["json"]],
        None,
        "ping",
        7,
        {},
        {"jsonrpc": "1.0", "id": 1, "method": "ping"},
        {"id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": None, "method": "ping"},
        {"jsonrpc": "2.0", "id": True, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1.5, "method": "ping"},
        {"jsonrpc": "2.0", "id": [1], "method": "ping"},
        {"jsonrpc": "2.0", "id": 1, "method": 7},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": "x"},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "result": {}},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "Method": "tools/call"},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "error": {"code": 1, "message": ""}},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "params": {}},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "result": {}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": ""}},
    ],
    ids=range(23),
)
async def test_what_is_not_one_json_rpc_message_is_refused(world: World, body: Any) -> None:
    refused(world, await world.client().post("/mcp", content=json.dumps(body), headers=JSON), -32600)


@pytest.mark.parametrize("id_", [0, -1, "a", "", 2**70])
async def test_ids_are_strings_or_integers_and_come_back_with_a_refusal(world: World, id_: Any) -> None:
    response = await world.client().post("/mcp", **legacy("tools/call", {"name": "forbidden"}, id=id_))
    assert response.status_code == 403
    assert response.json()["id"] == id_


async def test_params_may_be_null_or_left_out(world: World) -> None:
    for params in ({}, {"params": None}):
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping", **params}
        assert (await world.client().post("/mcp", json=body)).status_code == 200


async def test_a_modern_request_whose_headers_agree_reaches_the_app(world: World) -> None:
    assert (await world.client().post("/mcp", **modern("tools/call", READ))).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp_method": "tools/list"},
        {"mcp_name": "whoami"},
        {"mcp_name": encode_header_value("whoämi")},
        {"mcp_name": "=?base64?!!?="},
        {"mcp_protocol_version": "2027-01-01"},
    ],
    ids=str,
)
async def test_a_modern_header_that_disagrees_with_the_body_is_a_mismatch(
    world: World, headers: dict[str, str]
) -> None:
    refused(world, await world.client().post("/mcp", **modern("tools/call", READ, **headers)), -32020)


@pytest.mark.parametrize("missing", ["mcp-method", "mcp-name"])
async def test_a_modern_request_without_its_mirrors_is_a_mismatch(world: World, missing: str) -> None:
    request = modern("tools/call", READ)
    del request["headers"][missing]
    refused(world, await world.client().post("/mcp", **request), -32020)


async def test_a_modern_body_may_not_come_without_the_modern_header(world: World) -> None:
    """Else a proxy that goes by the header would take it for another era than the body says."""
    request = modern("tools/call", READ)
    del request["headers"]["mcp-protocol-version"]
    refused(world, await world.client().post("/mcp", **request), -32020)
    world.events.events.clear()
    request["headers"]["mcp-protocol-version"] = "2025-11-25"
    refused(world, await world.client().post("/mcp", **request), -32020)


async def test_a_mismatch_answers_the_request_that_had_it(world: World) -> None:
    response = await world.client().post("/mcp", **modern("tools/call", READ, mcp_name="whoami"))
    assert response.json()["id"] == 1
    assert world.events.events[0].target == "tools/call get_customer_info"


async def test_a_modern_request_needs_its_envelope(world: World) -> None:
    request = modern("tools/call", READ)
    del request["json"]["params"]["_meta"]
    refused(world, await world.client().post("/mcp", **request), -32602)


async def test_a_revision_that_nobody_knows_is_refused_with_those_that_are_known(world: World) -> None:
    request = modern("ping", mcp_protocol_version="2099-01-01")
    request["json"]["params"]["_meta"][PROTOCOL_VERSION_META_KEY] = "2099-01-01"
    response = await world.client().post("/mcp", **request)
    refused(world, response, -32022)
    assert response.json()["error"]["data"] == {"supported": [MODERN], "requested": "2099-01-01"}


async def test_a_notification_of_an_unknown_revision_is_refused(world: World) -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
    response = await world.client().post("/mcp", json=body, headers={"mcp-protocol-version": "2099-01-01"})
    refused(world, response, -32022)


async def test_a_name_that_no_header_can_carry_is_compared_decoded(world: World) -> None:
    response = await world.client().post(
        "/mcp", **modern("tools/call", READ, mcp_name="=?base64?Z2V0X2N1c3RvbWVyX2luZm8=?=")
    )
    assert response.status_code == 200


@pytest.mark.parametrize("headers", [{"mcp-method": "tools/list"}, {"mcp-name": "whoami"}], ids=str)
@pytest.mark.parametrize("version", [None, "2025-11-25"])
async def test_a_legacy_request_may_lack_the_mirrors_but_not_lie_in_them(
    world: World, headers: dict[str, str], version: str | None
) -> None:
    more = {"mcp-protocol-version": version} if version else {}
    refused(world, await world.client().post("/mcp", **{**call(), "headers": {**headers, **more}}), -32020)


async def test_a_name_where_no_name_belongs_is_a_mismatch(world: World) -> None:
    refused(world, await world.client().post("/mcp", **modern("tools/list", mcp_name="whoami")), -32020)


@pytest.mark.parametrize("request_of", [modern, legacy])
async def test_a_name_header_that_is_not_ascii_is_a_mismatch(world: World, request_of: Any) -> None:
    request = request_of("tools/call", READ)
    request["headers"]["mcp-name"] = b"=?base64?\xff%%%?="
    refused(world, await world.client().post("/mcp", **request), -32020)
