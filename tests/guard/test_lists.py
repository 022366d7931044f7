"""A list holds what the caller may use and nothing else, in both eras, as JSON and as events."""

import json
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from garrison.content.schema import ToolSchemas
from garrison.guard import rewriting
from garrison.guard.conditions import at_most
from garrison.guard.policy import Policy, needs
from tests.guard.test_both_eras import ANSWERS, MODES, connected, guarded, server
from tests.guard.world import World, legacy, modern

LISTED: dict[str, list[dict[str, Any]]] = {
    "tools": [{"name": "get_customer_info"}, {"name": "create_support_ticket"}, {"name": "hidden"}, {"name": 7}, {}],
    "resources": [{"uri": "health://status"}, {"uri": "security://events"}, {"uri": "file:///etc/passwd"}],
    "resourceTemplates": [{"uriTemplate": "file:///{path}"}],
    "prompts": [{"name": "greet"}, {"name": "other"}],
}
METHODS = {
    "tools": "tools/list",
    "resources": "resources/list",
    "resourceTemplates": "resources/templates/list",
    "prompts": "prompts/list",
}


def document(member: str, **more: Any) -> bytes:
    result = {member: LISTED[member], "cacheScope": "public", **more}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


def answering(body: bytes, content_type: str = "application/json", step: int = 10_000, *more: Any) -> ASGIApp:
    """Answers `body` in pieces of `step` bytes."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *more]
        if content_type != "application/json":
            del headers[1]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for at in range(0, len(body), step):
            await send({"type": "http.response.body", "body": body[at : at + step], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


async def listed(world: World, app: ASGIApp, method: str, scope: str = "customer:read", **changes: Any) -> Any:
    client = world.client(world.guard(app, **changes), world.mint(scope))
    return await client.post("/mcp", **modern(method))


@MODES
@ANSWERS
async def test_a_real_servers_lists_are_cut_to_the_callers_scopes(world: World, mode: str, json_response: bool) -> None:
    app = server().http_app(path="/mcp", json_response=json_response)
    async with guarded(world, app) as url:
        async with connected(world, url, mode, "customer:read") as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"get_customer_info", "whoami"}
            assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["greet"]
            assert [str(found.uri) for found in (await client.list_resources()).resources] == ["health://status"]
        async with connected(world, url, mode, "other") as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"whoami"}
            assert (await client.list_prompts()).prompts == []


@pytest.mark.parametrize("member", LISTED)
@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("stream", [False, True])
async def test_every_list_is_cut_however_it_comes(world: World, member: str, step: int, stream: bool) -> None:
    body, kind = document(member), "application/json"
    if stream:
        body, kind = b": ping\r\n\r\nevent: message\r\nid: 4\r\ndata: " + body + b"\r\n\r\n", "text/event-stream"
    response = await listed(world, answering(body, kind, step), METHODS[member])
    text = response.text if not stream else response.text.split("data: ")[1]
    expected = {
        "tools": [{"name": "get_customer_info"}],
        "resources": [{"uri": "health://status"}],
        "resourceTemplates": [],
        "prompts": [{"name": "greet"}],
    }
    assert json.loads(text)["result"] == {member: expected[member], "cacheScope": "private"}
    if stream:
        assert response.text.startswith(": ping\r\n\r\nevent: message\nid: 4\ndata: ")
        assert response.text.endswith("\n\n")
    else:
        assert response.headers["content-length"] == str(len(response.content))


async def test_a_list_that_hides_among_several_data_lines_is_cut(world: World) -> None:
    body = document("tools").replace(b'"tools"', b'\ndata: "tools"')
    response = await listed(world, answering(b"data:" + body + b"\r\r", "text/event-stream"), "tools/list")
    assert "hidden" not in response.text
    assert "get_customer_info" in response.text


async def test_a_byte_order_mark_hides_no_list(world: World) -> None:
    """A reader drops the mark that begins a stream (HTML, server-sent events), and then it reads data."""
    body = b"\xef\xbb\xbfdata: " + document("tools") + b"\n\n"
    response = await listed(world, answering(body, "text/event-stream", 1), "tools/list")
    assert "hidden" not in response.text
    assert "get_customer_info" in response.text


@pytest.mark.parametrize("stream", [False, True])
async def test_each_list_of_a_batch_is_cut(world: World, stream: bool) -> None:
    """MCP 2025-03-26 lets a server answer in batches."""
    body, kind = b"[" + document("tools") + b"," + document("prompts") + b"]", "application/json"
    if stream:
        body, kind = b"data: " + body + b"\n\n", "text/event-stream"
    text = (await listed(world, answering(body, kind), "tools/list")).text.removeprefix("data: ")
    assert [message["result"] for message in json.loads(text)] == [
        {"tools": [{"name": "get_customer_info"}], "cacheScope": "private"},
        {"prompts": [{"name": "greet"}], "cacheScope": "private"},
    ]


async def test_half_a_surrogate_pair_passes_as_the_escape_that_it_is(world: World) -> None:
    """As a server in JavaScript writes it that cuts a title off in the middle of an emoji."""
    body = b'{"result":{"tools":[{"name":"get_customer_info","title":"\\ud83d"}]}}'
    assert (await listed(world, answering(body), "tools/list")).content == body


async def test_an_event_that_never_ends_is_not_passed(world: World) -> None:
    response = await listed(world, answering(b"data: " + document("tools"), "text/event-stream"), "tools/list")
    assert response.text == ""


@pytest.mark.parametrize(
    "app",
    [
        answering(b"not JSON but hidden"),
        answering(b"[" * 100_000),
        answering(b"data: hidden\n\n", "text/event-stream"),
        answering(document("tools"), "application/json", 10_000, (b"Content-Encoding", b"gzip")),
    ],
    ids=["no JSON", "deep", "no JSON event", "compressed"],
)
async def test_a_list_that_cannot_be_read_does_not_pass(world: World, app: ASGIApp) -> None:
    with pytest.raises(rewriting.UnreadableError):
        await listed(world, app, "tools/list")


async def test_a_list_that_is_too_long_does_not_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "MAX_GATHERED", 50)
    with pytest.raises(rewriting.UnreadableError, match="too long"):
        await listed(world, answering(document("tools")), "tools/list")


async def test_an_error_and_an_empty_answer_pass_as_they_are(world: World) -> None:
    error = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no"}}'
    assert (await listed(world, answering(error), "tools/list")).content == error
    assert (await listed(world, answering(b""), "tools/list")).content == b""


async def test_the_stream_of_the_old_era_is_cut_too(world: World) -> None:
    app = answering(b"data: " + document("tools") + b"\n\n", "text/event-stream")
    response = await world.client(world.guard(app), world.mint("customer:read")).get(
        "/mcp", headers={"accept": "text/event-stream"}
    )
    assert "hidden" not in response.text
    assert "get_customer_info" in response.text


async def test_a_call_is_not_taken_for_a_list(world: World) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": ["hammer"]}}).encode()
    arguments = {"name": "get_customer_info", "arguments": {"customer_id": "ABC123"}}
    response = await world.client(world.guard(answering(body))).post("/mcp", **legacy("tools/call", arguments))
    assert response.content == body


async def in_session(world: World, body: bytes, content_type: str, **changes: Any) -> str:
    """What a call of the old era is answered in a session, if the app answers `body`."""
    app = answering(body, content_type, 10_000, (b"mcp-session-id", b"s1"))
    client = world.client(world.guard(app, **changes), world.mint("customer:read"))
    opened = await client.post("/mcp", **legacy("initialize"))
    request = legacy("tools/call", {"name": "get_customer_info", "arguments": {"customer_id": "ABC123"}})
    session = {"mcp-session-id": opened.headers["mcp-session-id"]}
    return (await client.post("/mcp", json=request["json"], headers=session)).text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_list_that_comes_as_the_answer_to_a_call_is_cut(world: World, stream: bool) -> None:
    """Servers find the stream of an answer by the id of its request, which two requests of a session may share."""
    body, kind = document("tools"), "application/json"
    if stream:
        body, kind = b"data: " + body + b"\n\n", "text/event-stream"
    told = await in_session(world, body, kind)
    assert "hidden" not in told
    assert "get_customer_info" in told
    assert "hidden" in await in_session(world, body, kind, filter_lists=False)


@pytest.mark.parametrize("stream", [False, True])
async def test_escapes_hide_no_list_in_the_answer_to_a_call(world: World, stream: bool) -> None:
    escaped = document("tools").replace(b'"tools"', b'"\\u0074ools"')
    body, kind = (b"data: " + escaped + b"\n\n", "Text/Event-Stream") if stream else (escaped, "application/json")
    assert "hidden" not in await in_session(world, body, kind)


@pytest.mark.parametrize("end", ["\n\n", "\n\r", "\n\r\n", "\r\r", "\r\r\n", "\r\n\n", "\r\n\r", "\r\n\r\n"])
async def test_any_two_line_ends_end_an_event(world: World, end: str) -> None:
    """Two messages read as one would be no JSON, and pass."""
    event = b"data: " + document("tools") + end.encode()
    assert "hidden" not in await in_session(world, event * 2 + b"\n\n", "text/event-stream")


@pytest.mark.parametrize("body", [b'{"result": {"tools": ', b'{"result": {"text": "\\"tools\\""}}', b'"tools"'])
async def test_a_calls_answer_that_is_no_list_passes_as_it_is(world: World, body: bytes) -> None:
    assert await in_session(world, body, "application/json") == body.decode()
    event = b"event: message\r\ndata: " + body + b"\r\n\r\n"
    assert await in_session(world, event, "text/event-stream") == event.decode()


async def test_a_calls_answer_of_any_length_passes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "MAX_GATHERED", 100)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"text": "x" * 1000}})
    assert await in_session(world, body.encode(), "application/json") == body


async def test_filtering_can_be_turned_off(world: World) -> None:
    response = await listed(world, answering(document("tools")), "tools/list", filter_lists=False)
    assert response.json()["result"] == {"tools": LISTED["tools"], "cacheScope": "private"}


async def test_two_callers_with_one_server_see_each_what_they_may_use_and_no_cache_may_keep_it(world: World) -> None:
    """Hidden is what is for others, or needs a scope that is had in no way; not what a call of it decides."""
    policy = Policy(
        tools={
            "anybody": needs(),
            "alice": needs(subjects={"alice"}),
            "phone": needs(clients={"phone"}),
            "reader": needs("read"),
            "argued": needs(arguments={"a": at_most(1)}),
            "asked": needs(when=lambda _context: False),
        },
        resources={"x://{id}": needs("read"), "x://{id}/{part}": needs("write"), "x://fixed": needs()},
        hierarchy={"admin": {"read"}},
    )
    entries = {
        "tools": [{"name": name} for name in [*policy.tools, "unnamed"]],
        "resources": [{"uri": uri} for uri in ("x://1", "x://1/2", "x://fixed", "x://../fixed", "y://1")],
        "resourceTemplates": [{"uriTemplate": uri} for uri in ("x://{id}", "x://{id}/{part}", "x://{other}", "x://1")],
    }
    member_of = {method: member for member, method in METHODS.items()}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        member = member_of[json.loads((await receive())["body"])["method"]]
        result = {member: entries[member], "cacheScope": "public", "ttlMs": 60_000}
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"public, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"id": 1, "result": result}).encode()})

    schemas = ToolSchemas({name: {"type": "object"} for name in policy.tools})
    guard = world.guard(app, policy, schemas=schemas)

    async def seen(member: str, scope: str, **claims: Any) -> list[str]:
        response = await world.client(guard, world.mint(scope, **claims)).post("/mcp", **modern(METHODS[member]))
        assert response.headers["cache-control"] == "private, no-store, no-transform"
        assert response.headers["vary"] == "authorization"
        assert response.json()["result"]["cacheScope"] == "private"
        return [next(iter(entry.values())) for entry in response.json()["result"][member]]

    bob = {"subject": "bob", "client_id": "phone"}
    assert await seen("tools", "admin") == ["anybody", "alice", "reader", "argued", "asked"]
    assert await seen("tools", "write", **bob) == ["anybody", "phone", "argued", "asked"]
    assert await seen("resources", "admin") == ["x://1", "x://fixed"]
    assert await seen("resources", "write", **bob) == ["x://1/2", "x://fixed"]
    assert await seen("resourceTemplates", "admin") == ["x://{id}"]
    assert await seen("resourceTemplates", "write", **bob) == ["x://{id}/{part}"]
