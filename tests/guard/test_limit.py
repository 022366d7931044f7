"""RFC 6585 §4: budgets of requests and of AI tokens, per principal, with a Retry-After that is true."""

import json
from typing import Any

import anyio
import httpx2
import pytest
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Message, Receive, Scope, Send

from garrison.base.errors import EventStoreError
from garrison.base.events import Kind
from garrison.guard import limit
from garrison.guard.guard import Guard
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from garrison.limits.tokens import estimate_tokens
from tests.guard.world import NotingApp, World, asgi, call, legacy, modern, others_have_run


def limited(world: World, **settings: Any) -> Guard:
    return world.guard(limiter=Limiter(LimitSettings(**settings)))


def error(response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 429, response.text
    return dict(response.json()["error"])


async def test_a_caller_over_its_request_budget_is_told_when_to_come_back(world: World) -> None:
    client = world.client(limited(world, requests_per_minute=2))
    for _ in range(2):
        assert (await client.post("/mcp", **call())).status_code == 200
    response = await client.post("/mcp", **call())
    refusal = error(response)
    assert refusal["code"] == -32004
    retry_after = int(response.headers["retry-after"])
    assert 1 <= retry_after <= 61
    assert refusal["data"] == {"budget": "requests", "limit": 2, "retryAfter": retry_after}
    assert response.headers["ratelimit-policy"] == '"requests";q=2;w=60'
    assert response.headers["ratelimit"] == f'"requests";r=0;t={retry_after}'
    assert response.json()["id"] == 1
    assert len(world.app.scopes) == 2
    assert world.events.kinds()[-1] == Kind.RATE_LIMITED


async def test_a_caller_over_its_token_budget_is_told_so(world: World) -> None:
    client = world.client(limited(world, tokens_per_hour=100))
    long = {"customer_id": "ABC123", "note": "word " * 50}
    assert (await client.post("/mcp", **call(arguments=long))).status_code == 200
    response = await client.post("/mcp", **call(arguments=long))
    assert error(response)["data"]["budget"] == "tokens"
    assert 1 <= int(response.headers["retry-after"]) <= 3600 * 2
    assert response.headers["ratelimit-policy"] == '"tokens";q=100;w=3600'


async def test_what_a_model_answers_to_a_tools_question_counts_too(world: World) -> None:
    answers = {"a": {"action": "accept", "content": {"note": "word " * 100}}}
    params = {"name": "whoami", "arguments": {}, "inputResponses": answers}
    response = await world.client(limited(world, tokens_per_hour=50)).post("/mcp", **legacy("tools/call", params))
    assert error(response)["data"]["budget"] == "tokens"


async def test_what_a_model_answers_in_an_old_session_counts_too(world: World) -> None:
    world.app.session_id = b"s"
    client = world.client(limited(world, tokens_per_hour=100))
    session = (await client.post("/mcp", **legacy("initialize"))).headers["mcp-session-id"]
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"content": {"type": "text", "text": "word " * 100}}}
    response = await client.post("/mcp", json=answer, headers={"mcp-session-id": session})
    assert error(response)["data"]["budget"] == "tokens"


async def test_a_call_larger_than_the_whole_budget_is_never_told_to_wait(world: World) -> None:
    client = world.client(limited(world, tokens_per_hour=10))
    response = await client.post("/mcp", **call(arguments={"customer_id": "ABC123", "note": "word " * 100}))
    refusal = error(response)
    assert "retry-after" not in response.headers
    assert refusal["data"] == {"budget": "tokens", "limit": 10, "retryAfter": None}
    assert "larger than the whole budget" in refusal["message"]
    assert world.app.scopes == []


async def test_budgets_are_per_issuer_subject_and_client(world: World) -> None:
    other = world.issuer_host.new_issuer()
    limiter = Limiter(LimitSettings(requests_per_minute=1))
    guard = world.guard(issuer=[world.issuer.url, other.url], limiter=limiter)
    principals: list[dict[str, Any]] = [
        {},
        {"subject": "bob"},
        {"client_id": "phone"},
        {"issuer": other.url},
        {"subject": "al", "client_id": "icedesk"},
    ]
    for claims in principals:
        client = world.client(guard, world.mint(**claims))
        assert (await client.post("/mcp", **call())).status_code == 200
        assert (await client.post("/mcp", **call())).status_code == 429


async def test_a_new_token_is_no_new_budget(world: World) -> None:
    guard = limited(world, requests_per_minute=1)
    assert (await world.client(guard, world.mint(jti="1")).post("/mcp", **call())).status_code == 200
    assert (await world.client(guard, world.mint(jti="2")).post("/mcp", **call())).status_code == 429


@pytest.mark.parametrize(
    ("method", "body"), [("POST", legacy("ping")), ("POST", legacy("tools/list")), ("GET", {}), ("DELETE", {})]
)
async def test_every_request_counts(world: World, method: str, body: dict[str, Any]) -> None:
    client = world.client(limited(world, requests_per_minute=1))
    assert (await client.request(method, "/mcp", **body)).status_code == 200
    assert (await client.request(method, "/mcp", **body)).status_code == 429
    assert len(world.app.scopes) == 1


async def test_what_the_answer_cost_is_charged_after_it(world: World) -> None:
    client = world.client(limited(world, tokens_per_hour=15))
    assert (await client.post("/mcp", **legacy("ping"))).status_code == 200
    response = await client.post("/mcp", **legacy("ping"))
    assert error(response)["data"]["budget"] == "tokens"


async def test_a_call_that_is_denied_is_not_charged(world: World) -> None:
    client = world.client(limited(world, requests_per_minute=1))
    assert (await client.post("/mcp", **call("forbidden"))).status_code == 403
    assert (await client.post("/mcp", **call())).status_code == 200


async def test_an_outage_of_the_store_that_cannot_be_recorded_refuses_the_call(world: World) -> None:
    async def on_failure(reason: str) -> None:
        raise EventStoreError(reason)

    settings = LimitSettings(redis_url="redis://127.0.0.1:1/0")
    limiter = Limiter(settings, on_failure=on_failure)
    response = await world.client(world.guard(limiter=limiter)).post("/mcp", **call())
    assert response.status_code == 503
    assert "retry-after" in response.headers
    assert world.app.scopes == []
    await limiter.aclose()


async def test_a_call_refused_for_an_outage_of_the_store_is_not_told_that_a_budget_is_used_up(world: World) -> None:
    limiter = Limiter(LimitSettings(redis_url="redis://127.0.0.1:1/0", on_store_failure="refuse"), clock=lambda: 0.0)
    client = world.client(world.guard(limiter=limiter))
    for _ in range(2):
        response = await client.post("/mcp", **call())
        assert response.status_code == 503
        assert response.headers["retry-after"] == "2"
        assert "ratelimit" not in response.headers
    assert world.app.scopes == []
    assert Kind.RATE_LIMITED not in world.events.kinds()
    await limiter.aclose()


async def test_an_outage_of_the_store_after_the_call_does_not_take_the_answer_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class LateOutage(Limiter):
        async def settle(self, principal: str, tokens: int) -> None:
            raise EventStoreError("the disk is full")

    limiter = LateOutage(LimitSettings())
    assert (await world.client(world.guard(limiter=limiter)).post("/mcp", **call())).status_code == 200
    assert world.events.kinds() == [Kind.CALL_ALLOWED, Kind.CALL_FINISHED]
    assert "outage" in caplog.text


async def test_a_tool_can_have_a_budget_of_its_own(world: World) -> None:
    guard = limited(world, tools={"whoami": 1})
    client = world.client(guard)
    whoami = call("whoami", {})
    assert (await client.post("/mcp", **whoami)).status_code == 200
    response = await client.post("/mcp", **whoami)
    assert error(response)["data"]["budget"] == "tool"
    assert response.headers["ratelimit-policy"] == '"tool";q=1;w=60'
    assert (await client.post("/mcp", **call())).status_code == 200
    assert (await world.client(guard, world.mint(subject="bob")).post("/mcp", **whoami)).is_success


async def test_all_users_of_a_client_can_share_a_budget(world: World) -> None:
    other = world.issuer_host.new_issuer()
    limiter = Limiter(LimitSettings(client_requests_per_minute=2))
    guard = world.guard(issuer=[world.issuer.url, other.url], limiter=limiter)
    claims: list[dict[str, Any]] = [
        {"subject": "alice"},
        {"subject": "bob"},
        {"subject": "carol"},
        {"client_id": "phone"},
        {"issuer": other.url},
    ]
    answers = [(await world.client(guard, world.mint(**claim)).post("/mcp", **call())).status_code for claim in claims]
    assert answers == [200, 200, 429, 200, 200]


async def test_an_answer_says_what_is_left(world: World) -> None:
    class Boastful(NotingApp):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def boast(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"].append((b"ratelimit", b'"requests";r=1000000'))
                await send(message)

            await super().__call__(scope, receive, boast)

    limits = LimitSettings(requests_per_minute=5, tokens_per_hour=1000)
    guard = world.guard(Boastful(), limiter=Limiter(limits))
    first = await world.client(guard).post("/mcp", **legacy("ping"))
    assert first.headers["ratelimit-policy"] == '"requests";q=5;w=60, "tokens";q=1000;w=3600'
    assert first.headers["ratelimit"] == '"requests";r=4;t=60, "tokens";r=999'
    second = await world.client(guard).post("/mcp", **legacy("ping"))
    assert second.headers.get_list("ratelimit") == [
        f'"requests";r=3;t=60, "tokens";r={998 - estimate_tokens(first.content)}'
    ]


class SlowApp(NotingApp):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.here = anyio.Semaphore(0)
        self.go = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.here.release()
        await self.go.wait()
        await super().__call__(scope, receive, send)


@pytest.mark.parametrize(
    ("settings", "method", "body", "budget"),
    [
        (LimitSettings(concurrent_calls=2), "POST", call(), "calls"),
        (LimitSettings(concurrent_calls=2), "DELETE", {}, "calls"),
        (LimitSettings(open_streams=2), "GET", {}, "streams"),
        (LimitSettings(open_streams=2), "POST", modern("subscriptions/listen", {"notifications": {}}), "streams"),
    ],
)
async def test_a_caller_has_so_many_going_at_once_and_another_caller_as_many(
    world: World, settings: LimitSettings, method: str, body: dict[str, Any], budget: str
) -> None:
    app = SlowApp()
    guard = world.guard(app, limiter=Limiter(settings))
    answers: list[int] = []

    async def ask(subject: str) -> None:
        client = world.client(guard, world.mint(subject=subject))
        answers.append((await client.request(method, "/mcp", **body)).status_code)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for subject in ("alice", "alice", "bob", "bob"):
                tasks.start_soon(ask, subject)
            for _ in range(4):
                await app.here.acquire()
            response = await world.client(guard).request(method, "/mcp", **body)
            assert error(response)["data"] == {"budget": budget, "limit": 2, "retryAfter": 1}
            assert response.headers["ratelimit-policy"] == f'"{budget}";q=2;qu="concurrent-requests"'
            app.go.set()
    assert answers == [200] * 4
    assert (await world.client(guard).request(method, "/mcp", **body)).status_code == 200


async def test_a_slot_is_given_back_on_every_way_out(world: World) -> None:
    class Failing:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise ValueError("the app failed")

    limiter = Limiter(LimitSettings(concurrent_calls=1, requests_per_minute=4))
    guard = world.guard(limiter=limiter)
    client = world.client(guard)
    wrong = call(arguments={"customer_id": "'; DROP TABLE"})
    assert (await client.post("/mcp", **wrong)).json()["result"]["isError"]
    world.events.failing = frozenset({Kind.CALL_ALLOWED})
    assert (await client.post("/mcp", **call())).status_code == 503
    world.events.failing = frozenset()
    with pytest.raises(ValueError, match="the app failed"):
        await world.client(world.guard(Failing(), limiter=limiter)).post("/mcp", **call())
    assert (await client.post("/mcp", **call())).status_code == 200
    assert (await client.post("/mcp", **call())).status_code == 429
    assert len(limiter.calls) == 0


async def test_a_slot_is_given_back_when_the_client_goes_away(world: World) -> None:
    app = SlowApp()
    limiter = Limiter(LimitSettings(concurrent_calls=1))
    guard = world.guard(app, limiter=limiter)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: world.client(guard).post("/mcp", **call()))
            await app.here.acquire()
            assert len(limiter.calls) == 1
            tasks.cancel_scope.cancel()
    assert len(limiter.calls) == 0


async def test_a_call_refused_for_its_slot_costs_no_budget(world: World) -> None:
    limiter = Limiter(LimitSettings(concurrent_calls=1, requests_per_minute=2))
    app = SlowApp()
    guard = world.guard(app, limiter=limiter)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: world.client(guard).post("/mcp", **call()))
            await app.here.acquire()
            for _ in range(5):
                assert error(await world.client(guard).post("/mcp", **call()))["data"]["budget"] == "calls"
            app.go.set()
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200


async def test_a_caller_that_goes_on_after_its_refusal_leaves_a_bounded_number_of_events(world: World) -> None:
    guard = limited(world, requests_per_minute=1)
    client, other = world.client(guard), world.client(guard, world.mint(subject="bob"))
    await client.post("/mcp", **call())
    before = len(world.events.events)
    for _ in range(200):
        assert (await client.post("/mcp", **call())).status_code == 429
    assert len(world.events.events) == before + 1
    world.clock.now += 61
    for _ in range(2):
        await other.post("/mcp", **call())
    (counted,) = [event for event in world.events.events if "unrecorded" in event.detail]
    assert (counted.subject, counted.client_id, counted.detail) == ("alice", "desk", {"unrecorded": 199})
    assert world.events.events[-1].subject == "bob"


async def test_a_caller_that_goes_on_has_only_so_much_read_for_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each such body took the guard as long as it liked, and none was charged to any budget."""
    denied = json.dumps(call("forbidden")["json"]).encode()
    malformed = b"[" * len(denied)
    monkeypatch.setattr(limit, "MAX_WASTED", 4 * len(denied))
    guard = limited(world, requests_per_minute=3)
    client = world.client(guard)
    ids = []
    for body in [*[denied] * 6, *[malformed] * 5, denied]:
        response = await client.post("/mcp", content=body, headers={"content-type": "application/json"})
        ids.append(response.json()["id"])
    assert ids == [1] * 6 + [None] * 6  # only what was read has an id
    response = await client.post("/mcp", **call())
    wait = int(response.headers["retry-after"])
    assert error(response)["data"] == {"budget": "refused", "limit": 3, "retryAfter": wait}
    assert (await world.client(guard, world.mint(subject="bob")).post("/mcp", **call())).status_code == 200
    world.clock.now += wait
    assert (await client.post("/mcp", **call())).status_code == 200


async def test_no_caller_has_its_answers_compressed_and_so_charged_for_less(world: World) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[],"said":"%s"}}' % (b"word " * 2000)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    guard = world.guard(GZipMiddleware(app), limiter=Limiter(LimitSettings(tokens_per_hour=1000)))
    client = world.client(guard)
    client.headers["accept-encoding"] = "gzip"
    assert (await client.post("/mcp", **call())).status_code == 200
    assert error(await client.post("/mcp", **legacy("tools/list")))["data"]["budget"] == "tokens"
    other = world.client(guard, world.mint(subject="bob"))
    assert (await other.post("/mcp", **legacy("tools/list"))).json()["result"]["tools"] == []


@pytest.mark.parametrize("denied", [call("forbidden"), call("nothing"), {"json": []}, legacy("tasks/list")])
async def test_a_flood_of_denied_calls_leaves_a_bounded_number_of_events(world: World, denied: dict[str, Any]) -> None:
    guard = limited(world, requests_per_minute=5)
    client = world.client(guard)
    for _ in range(5):
        assert (await client.post("/mcp", **denied)).status_code in {400, 403}
    for _ in range(50):
        assert error(await client.post("/mcp", **denied))["data"]["budget"] == "refused"
    assert len(world.events.events) == 6
    assert (await client.post("/mcp", **call())).status_code == 200
    assert (await world.client(guard, world.mint(subject="bob")).post("/mcp", **denied)).status_code in {400, 403}


async def test_a_caller_has_so_many_bodies_at_once_that_are_still_on_their_way(world: World) -> None:
    guard = limited(world, concurrent_calls=2)
    bearer = {name: f"Bearer {world.mint(subject=name)}".encode() for name in ("alice", "bob")}

    async def half_a_body(name: str) -> list[Message]:
        headers = [
            (b"host", b"localhost:8000"),
            (b"content-type", b"application/json"),
            (b"authorization", bearer[name]),
        ]
        scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers}
        return await asgi(guard, scope, [{"type": "http.request", "body": b"{", "more_body": True}])

    await world.client(guard).post("/mcp", **call())  # so that the keys are there
    async with anyio.create_task_group() as tasks:
        for name in ("alice", "alice", "bob"):
            tasks.start_soon(half_a_body, name)
        await others_have_run()
        with anyio.fail_after(60):
            assert (await half_a_body("alice"))[0]["status"] == 429
        tasks.cancel_scope.cancel()
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
