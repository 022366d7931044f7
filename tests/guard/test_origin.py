"""Host, Origin, path, method, content type and size: judged before a byte of the body is read."""

import json
from collections.abc import AsyncIterator

import anyio
import httpx2
import pytest
from starlette.types import Message

from garrison.base.events import Kind
from tests.guard.world import World, asgi, call

OURS = "http://localhost:8000"


async def refused(world: World, response: httpx2.Response, status: int) -> None:
    """The answer is `status`, the app saw nothing, and there is an event."""
    assert response.status_code == status, response.text
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.REQUEST_REJECTED]


async def test_a_call_to_our_own_host_reaches_the_app(world: World) -> None:
    response = await world.client().post("/mcp", **call())
    assert response.status_code == 200
    assert len(world.app.scopes) == 1


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost", "localhost:80", "localhost:8000.evil.example", "localhost:8000/x?y", ""]
)
async def test_a_host_that_is_not_ours_is_misdirected_even_with_a_good_token(world: World, host: str) -> None:
    response = await world.client().post("/mcp", **{**call(), "headers": {"host": host}})
    await refused(world, response, 421)


async def test_the_metadata_is_not_for_rebound_hosts_either(world: World) -> None:
    response = await world.client().get("/.well-known/oauth-protected-resource", headers={"host": "evil.example"})
    await refused(world, response, 421)


async def test_a_request_without_host_is_refused(world: World) -> None:
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [], "query_string": b""}
    sent = await asgi(world.guard(), scope, [])
    assert sent[0]["status"] == 400


@pytest.mark.parametrize("host", ["LOCALHOST:8000", "proxy.example"])
async def test_our_host_in_any_case_and_further_hosts_by_setting_are_served(world: World, host: str) -> None:
    guard = world.guard(allowed_hosts=["proxy.example"])
    response = await world.client(guard).post("/mcp", **{**call(), "headers": {"host": host}})
    assert response.status_code == 200


@pytest.mark.parametrize("host", ["api.example", "api.example:443"])
async def test_the_default_port_may_be_said_or_not(world: World, host: str) -> None:
    resource = "https://api.example/mcp"
    guard = world.guard(resource=resource)
    response = await world.client(guard, world.mint(audience=resource)).post(
        "/mcp", **{**call(), "headers": {"host": host, "origin": f"https://{host}"}}
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:8001", "https://localhost:8000", OURS + ".evil.example"]
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_page_of_a_foreign_origin_is_refused(world: World, origin: str, method: str) -> None:
    response = await world.client().request(method, "/mcp", headers={"origin": origin})
    await refused(world, response, 403)


@pytest.mark.parametrize("origin", [OURS, "https://app.example"])
async def test_our_own_origin_and_allowed_ones_are_served(world: World, origin: str) -> None:
    guard = world.guard(allowed_origins=["https://app.example"])
    response = await world.client(guard).post("/mcp", **{**call(), "headers": {"origin": origin}})
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/", "/sse", "/mcp/x", "//mcp", "/mcp//", "/mcpx", "/docs", "/.well-known/jwks.json"])
async def test_there_is_nothing_but_the_mcp_path(world: World, path: str) -> None:
    response = await world.client().post(OURS + path, json=call()["json"])
    await refused(world, response, 404)


@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/%6dcp"])
async def test_however_the_path_is_spelled_the_app_sees_one_spelling(world: World, path: str) -> None:
    response = await world.client().post(path + "?tenant=other", **call())
    assert response.status_code == 200
    scope = world.app.scopes[0]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/mcp", b"/mcp", b"")


async def test_a_resource_is_found_at_its_path_as_servers_decode_it(world: World) -> None:
    resource = "http://localhost:8000/tenant%20a/mcp"
    client = world.client(world.guard(resource=resource), world.mint(audience=resource))
    assert (await client.post("/tenant%20a/mcp", **call())).status_code == 200
    assert (world.app.scopes[0]["path"], world.app.scopes[0]["raw_path"]) == ("/tenant a/mcp", b"/tenant%20a/mcp")


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "PUT", "PATCH", "TRACE"])
async def test_other_methods_are_told_which_there_are(world: World, method: str) -> None:
    response = await world.client().request(method, "/mcp")
    await refused(world, response, 405)
    assert response.headers["allow"] == "GET, POST, DELETE"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/json; charset=utf-16", ""],
)
async def test_a_body_that_is_not_json_is_an_unsupported_media_type(world: World, content_type: str) -> None:
    response = await world.client().post("/mcp", content=b"{}", headers={"content-type": content_type})
    await refused(world, response, 415)


async def test_json_in_utf_8_is_supported_however_it_is_spelled(world: World) -> None:
    content = json.dumps(call()["json"]).encode()
    headers = {"content-type": 'Application/JSON; charset="UTF-8"'}
    response = await world.client().post("/mcp", content=content, headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "host",
        "content-type",
        "origin",
        "mcp-session-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "content-length",
    ],
)
async def test_a_header_that_decides_may_come_only_once(world: World, name: str) -> None:
    """Two copies would let the guard read one and the app the other."""
    value = world.client().headers.get(name) or {"host": "localhost:8000"}.get(name, "1")
    headers = [(b"host", b"localhost:8000")] + 2 * [(name.encode(), value.encode())]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "query_string": b""}
    sent = await asgi(world.guard(), scope, [])
    assert sent[0]["status"] == 400
    assert world.app.scopes == []
    code = json.loads(sent[1]["body"])["error"]["code"]
    assert code == (-32020 if name in {"mcp-method", "mcp-name", "mcp-protocol-version"} else -32600)


async def test_header_names_are_found_in_any_case(world: World) -> None:
    """ASGI promises lower case; a server that doesn't keep the promise must not open a way around."""
    headers = [(b"Host", b"localhost:8000"), (b"ORIGIN", b"http://evil.example")]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "query_string": b""}
    assert (await asgi(world.guard(), scope, []))[0]["status"] == 403


@pytest.mark.parametrize("query", ["access_token={}", "a=b&ACCESS_TOKEN={}", "access%5Ftoken={}", "access_token"])
async def test_a_token_in_the_url_is_refused_and_not_recorded(world: World, query: str) -> None:
    token = world.mint()
    response = await world.client().post("/mcp?" + query.format(token), **call())
    await refused(world, response, 400)
    assert token not in str(world.events.events)


@pytest.mark.parametrize("length", ["1025", "9" * 5000])
async def test_a_body_declared_too_large_is_refused_unread(world: World, length: str) -> None:
    headers = [
        (b"host", b"localhost:8000"),
        (b"content-type", b"application/json"),
        (b"content-length", length.encode()),
    ]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/mcp",
        "headers": headers,
        "query_string": b"",
    }
    sent = await asgi(world.guard(max_body=1024), scope, [])
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "0x10", "+5"])
async def test_a_length_that_is_no_number_is_refused(world: World, length: str) -> None:
    headers = [
        (b"host", b"localhost:8000"),
        (b"content-type", b"application/json"),
        (b"content-length", length.encode()),
    ]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "query_string": b""}
    assert (await asgi(world.guard(), scope, []))[0]["status"] == 400


async def test_a_body_of_undeclared_length_is_cut_off_at_the_cap(world: World) -> None:
    sizes = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sizes.append(512)
            yield b" " * 512

    headers = {"content-type": "application/json"}
    response = await world.client(world.guard(max_body=1024)).post("/mcp", content=endless(), headers=headers)
    await refused(world, response, 413)
    assert sum(sizes) <= 2048


async def test_a_body_at_the_cap_is_read(world: World) -> None:
    content = json.dumps(call()["json"]).encode()
    guard = world.guard(max_body=len(content))
    response = await world.client(guard).post("/mcp", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 200


async def test_a_body_that_does_not_arrive_in_time_is_given_up(world: World) -> None:
    headers = [
        (b"host", b"localhost:8000"),
        (b"content-type", b"application/json"),
        (b"authorization", f"Bearer {world.mint()}".encode()),
    ]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "query_string": b""}
    first: Message = {"type": "http.request", "body": b"{", "more_body": True}
    with anyio.fail_after(60):
        sent = await asgi(world.guard(body_timeout=0.05), scope, [first])
    assert sent[0]["status"] == 408
    assert world.app.scopes == []


async def test_a_client_that_goes_away_before_its_body_is_there_calls_nothing(world: World) -> None:
    headers = [
        (b"host", b"localhost:8000"),
        (b"content-type", b"application/json"),
        (b"authorization", f"Bearer {world.mint()}".encode()),
    ]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "query_string": b""}
    body = json.dumps(call()["json"]).encode()
    await asgi(
        world.guard(), scope, [{"type": "http.request", "body": body, "more_body": True}, {"type": "http.disconnect"}]
    )
    assert world.app.scopes == []
