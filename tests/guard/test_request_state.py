"""State that a client keeps is good for its caller only, and for its call, also where the app seals nothing."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from mcp_types import INVALID_PARAMS
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garrison.base.events import Kind
from garrison.guard import rewriting
from garrison.guard.guard import Guard
from garrison.guard.policy import Policy, needs
from tests.guard.test_both_eras import asking, guarded
from tests.guard.world import RESOURCE, World, legacy, modern

POLICY = Policy(
    tools={"get_customer_info": needs(), "create_support_ticket": needs()},
    resources={"health://status": needs(), "health://other": needs()},
    prompts={"get_customer_info": needs()},
)
ARGUMENTS = {"customer_id": "ABC123"}
CALL = ("tools/call", {"name": "get_customer_info", "arguments": ARGUMENTS})
ASKED: list[tuple[str, dict[str, Any]]] = [
    CALL,
    ("prompts/get", {"name": "get_customer_info", "arguments": ARGUMENTS}),
    ("resources/read", {"uri": "health://status"}),
]


class AskingApp:
    """Keeps `state` with the client, sealed by nothing, and notes what comes back."""

    def __init__(self, state: Any = "mine.1", *, stream: bool = False, step: int = 100_000, pad: int = 0) -> None:
        result = {"resultType": "input_required", "inputRequests": {}, "requestState": state, "pad": "x" * pad}
        self._body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
        self._stream = stream
        self._step = step
        self.seen: list[Any] = []
        self.lengths: list[tuple[bytes | None, int]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        self.seen.append(json.loads(body)["params"].get("requestState"))
        self.lengths.append((dict(scope["headers"]).get(b"content-length"), len(body)))
        kind = b"text/event-stream" if self._stream else b"application/json"
        text = b": ping\n\nevent: message\ndata: " + self._body + b"\n\n" if self._stream else self._body
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for at in range(0, len(text), self._step):
            await send({"type": "http.response.body", "body": text[at : at + self._step], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def ask(
    world: World,
    guard: Guard,
    method: str,
    params: Mapping[str, Any],
    state: Any = None,
    era: Any = modern,
    **claims: Any,
) -> httpx2.Response:
    sent = {**params, **({} if state is None else {"requestState": state, "inputResponses": {}})}
    world.clock.now += 1
    return await world.client(guard, world.mint(**claims)).post("/mcp", **era(method, sent))


def state_in(response: httpx2.Response) -> Any:
    text = response.text.split("data: ")[1] if "data: " in response.text else response.text
    return json.loads(text)["result"]["requestState"]


@pytest.mark.parametrize(("method", "params"), ASKED, ids=str)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("step", [1, 100_000])
async def test_the_app_gets_its_own_state_back_from_its_caller(
    world: World, method: str, params: dict[str, Any], stream: bool, step: int
) -> None:
    app = AskingApp(stream=stream, step=step)
    guard = world.guard(app, POLICY)
    state = state_in(await ask(world, guard, method, params))
    assert state.startswith("mine.1.")
    assert (await ask(world, guard, method, params, state, jti="2")).status_code == 200
    assert app.seen == [None, "mine.1"]
    assert all(int(length or -1) == size for length, size in app.lengths)


def refused(world: World, app: AskingApp, response: httpx2.Response) -> None:
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == INVALID_PARAMS
    assert len(app.seen) == 1
    assert world.events.kinds()[-1] == Kind.REQUEST_REJECTED


@pytest.mark.parametrize("claims", [{"subject": "bob"}, {"client_id": "phone"}], ids=str)
async def test_another_callers_state_is_refused(world: World, claims: dict[str, Any]) -> None:
    app = AskingApp()
    guard = world.guard(app, POLICY)
    state = state_in(await ask(world, guard, *CALL))
    refused(world, app, await ask(world, guard, *CALL, state, **claims))


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "create_support_ticket", "arguments": ARGUMENTS}),
        ("tools/call", {"name": "get_customer_info", "arguments": {"customer_id": "XYZ999"}}),
        ("prompts/get", {"name": "get_customer_info", "arguments": ARGUMENTS}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "get_customer_info"}}),
        ("tools/list", {}),
    ],
    ids=str,
)
async def test_a_state_is_refused_for_another_call(world: World, method: str, params: dict[str, Any]) -> None:
    """What was agreed to for one customer must not be carried over to another."""
    app = AskingApp()
    guard = world.guard(app, POLICY)
    state = state_in(await ask(world, guard, *CALL))
    refused(world, app, await ask(world, guard, method, params, state))


async def test_a_state_of_one_resource_is_refused_for_another(world: World) -> None:
    app = AskingApp()
    guard = world.guard(app, POLICY)
    state = state_in(await ask(world, guard, *ASKED[2]))
    refused(world, app, await ask(world, guard, "resources/read", {"uri": "health://other"}, state))
    refused(world, app, await ask(world, guard, *CALL, state))


async def test_a_changed_state_is_refused(world: World) -> None:
    app = AskingApp()
    guard = world.guard(app, POLICY)
    state = state_in(await ask(world, guard, *CALL))
    inner, _, mac = state.rpartition(".")
    flipped = [state[:at] + ("A" if state[at] != "A" else "B") + state[at + 1 :] for at in range(len(state))]
    others: list[Any] = [inner, f"{inner}.", f".{mac}", "", "x", f"{state}.", "é.é", 7, ["x"], {"a": 1}, False]
    for wrong in [*flipped, *others]:
        refused(world, app, await ask(world, guard, *CALL, wrong))


async def test_an_empty_state_is_bound_too_and_null_is_none(world: World) -> None:
    app = AskingApp("")
    guard = world.guard(app, POLICY)
    state = state_in(await ask(world, guard, *CALL))
    await ask(world, guard, *CALL, state)
    await world.client(guard).post("/mcp", **modern(CALL[0], {**CALL[1], "requestState": None}))
    assert app.seen == [None, "", None]


@pytest.mark.parametrize("spelling", ["request_state", "input_responses"])
@pytest.mark.parametrize("era", [legacy, modern])
async def test_no_other_spelling_gets_past(world: World, era: Any, spelling: str) -> None:
    response = await world.client().post("/mcp", **era(CALL[0], {**CALL[1], spelling: "forged"}))
    assert (response.status_code, response.json()["error"]["code"]) == (400, INVALID_PARAMS)
    assert world.app.scopes == []


async def test_a_state_is_refused_in_the_old_era_too(world: World) -> None:
    assert (await ask(world, world.guard(), *CALL, "forged", legacy)).status_code == 400
    assert world.app.scopes == []


async def test_replicas_with_one_secret_know_each_others_states_and_others_do_not(world: World) -> None:
    app = AskingApp()
    state = state_in(await ask(world, world.guard(app, POLICY), *CALL))
    assert (await ask(world, world.guard(app, POLICY), *CALL, state)).status_code == 200
    app.seen.pop()
    refused(world, app, await ask(world, world.guard(app, POLICY, secret=bytes(32)), *CALL, state))


async def test_a_state_of_one_server_is_refused_at_another_with_the_same_secret(world: World) -> None:
    app = AskingApp()
    state = state_in(await ask(world, world.guard(app, POLICY), *CALL))
    other = "http://localhost:8000/other"
    assert other != RESOURCE
    client = world.client(world.guard(app, POLICY, resource=other), world.mint(audience=other))
    refused(world, app, await client.post("/other", **modern(CALL[0], {**CALL[1], "requestState": state})))


async def test_a_session_id_is_no_state(world: World) -> None:
    """Both are HMACs of the same secret over what a caller can choose."""
    app = AskingApp()
    guard = world.guard(app, POLICY)
    state = state_in(await ask(world, guard, *CALL))
    sent = modern(*CALL)
    sent["headers"]["mcp-session-id"] = state
    assert (await world.client(guard).post("/mcp", **sent)).status_code == 404


@pytest.mark.parametrize("pad", [100, 100_000])
async def test_an_answer_too_long_to_be_gathered_goes_on_and_its_state_is_worth_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, pad: int
) -> None:
    monkeypatch.setattr(rewriting, "MAX_GATHERED", 150)
    for stream in (False, True):
        app = AskingApp(stream=stream, step=77, pad=pad)
        guard = world.guard(app, POLICY)
        response = await ask(world, guard, *CALL)
        assert state_in(response) == "mine.1"
        assert len(response.content) > pad
        refused(world, app, await ask(world, guard, *CALL, "mine.1"))


def raw(body: bytes, *headers: tuple[bytes, bytes]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {"type": "http.response.start", "status": 200, "headers": list(headers)}
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return app


@pytest.mark.parametrize(
    "body",
    [b'{"result": {"requestState": ', b'"requestState"', b'{"result": ["requestState"]}', b'["requestState"]', b""],
)
async def test_what_is_no_result_goes_on_as_it_is(world: World, body: bytes) -> None:
    assert (await ask(world, world.guard(raw(body), POLICY), *CALL)).content == body


async def test_a_compressed_answer_goes_on_as_it_is(world: World) -> None:
    body = gzip.compress(b'{"jsonrpc": "2.0", "id": 1, "result": {"requestState": "mine"}}')
    response = await ask(world, world.guard(raw(body, (b"content-encoding", b"gzip")), POLICY), *CALL)
    assert state_in(response) == "mine"


async def test_the_spelling_that_the_sdks_own_seal_overlooks_reaches_no_tool(world: World) -> None:
    async with guarded(world, asking().http_app(path="/mcp", json_response=True)) as url:
        request = modern("tools/call", {"name": "whoami", "arguments": {}, "request_state": "forged"})
        headers = {**request["headers"], "authorization": f"Bearer {world.mint(audience=url)}"}
        async with httpx2.AsyncClient(headers=headers) as http:
            response = await http.post(url, json=request["json"])
    assert response.status_code == 400
    assert "forged" not in response.text


# Caches


async def test_a_result_that_is_private_already_goes_on_byte_for_byte(world: World) -> None:
    body = b'{"jsonrpc": "2.0", "id": 1, "result": {"cacheScope": "private", "n": 1e2, "s": "\\ud800"}}'
    assert (await ask(world, world.guard(raw(body), POLICY), *ASKED[2])).content == body
    public = body.replace(b"private", b"public")
    assert (await ask(world, world.guard(raw(public), POLICY), *ASKED[2])).json()["result"]["s"] == "\ud800"


@pytest.mark.parametrize(("method", "params"), [ASKED[2], ("tools/list", {}), ("server/discover", {})], ids=str)
@pytest.mark.parametrize("filter_lists", [True, False])
async def test_no_cache_is_told_that_it_may_share_a_result(
    world: World, method: str, params: dict[str, Any], filter_lists: bool
) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"cacheScope": "public", "ttlMs": 60_000}}).encode()
    caching = [
        (b"Cache-Control", b"public, max-age=600"),
        (b"CDN-Cache-Control", b"max-age=600"),
        (b"Surrogate-Control", b"max-age=600"),
        (b"Expires", b"Wed, 21 Oct 2099 07:28:00 GMT"),
        (b"Vary", b"Accept"),
    ]
    guard = world.guard(raw(body, *caching), POLICY, filter_lists=filter_lists)
    response = await world.client(guard).post("/mcp", **modern(method, params))
    assert response.headers.get_list("cache-control") == ["private, no-store, no-transform"]
    assert response.headers.get_list("vary") == ["Accept", "authorization"]
    assert not {"cdn-cache-control", "surrogate-control", "expires"} & set(response.headers)
    assert response.json()["result"]["cacheScope"] == "private"
    assert response.headers["content-length"] == str(len(response.content))
