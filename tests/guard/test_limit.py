"""RFC 6585 §4: budgets of requests and of AI tokens, per principal, with a Retry-After that is true."""

from typing import Any

import httpx2
import pytest

from garrison.base.errors import EventStoreError
from garrison.base.events import Kind
from garrison.guard.guard import Guard
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from tests.guard.world import World, call, legacy


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
