"""Every decision is an event before it takes effect, and what can't be recorded doesn't happen."""

from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from garrison.base.events import Event, Kind
from garrison.guard import guard
from garrison.limits.limiter import Admission, Limiter
from garrison.limits.settings import LimitSettings
from tests.guard.world import World, asgi, call, legacy


async def test_an_allowed_call_is_recorded_before_the_app_is_called(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    kinds_seen_by_the_app: list[Kind] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kinds_seen_by_the_app.extend(world.events.kinds())
        await world.app(scope, receive, send)

    response = await world.client(world.guard(app)).post("/mcp", **call())
    assert kinds_seen_by_the_app == [Kind.CALL_ALLOWED]
    assert world.events.kinds() == [Kind.CALL_ALLOWED, Kind.CALL_FINISHED]
    allowed, finished = world.events.events
    assert (allowed.subject, allowed.client_id, allowed.address) == ("alice", "desk", "127.0.0.1")
    assert allowed.target == finished.target == "tools/call get_customer_info"
    assert allowed.id != finished.id
    assert allowed.correlation_id == finished.correlation_id == response.headers["x-correlation-id"]
    assert caplog.text == ""
    assert finished.detail == {"status": 200, "bytes": len(response.content), "seconds": 0}


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_call_that_cannot_be_recorded_is_not_made(world: World, method: str) -> None:
    world.events.fail()
    response = await world.client().request(method, "/mcp", **(call() if method == "POST" else {}))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert world.app.scopes == []


async def test_a_refusal_that_cannot_be_recorded_is_still_a_refusal(world: World) -> None:
    world.events.fail()
    assert (await world.client().post("/mcp", **call("forbidden"))).status_code == 503
    assert world.app.scopes == []


async def test_an_answer_is_not_lost_with_its_last_event(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The call has happened; telling the client that it hasn't would make it happen twice."""
    world.events.failing = frozenset({Kind.CALL_FINISHED})
    response = await world.client().post("/mcp", **call())
    assert response.status_code == 200
    assert response.headers["x-correlation-id"] in caplog.text


async def test_a_cancelled_call_is_charged_for_no_longer_than_it_may_take(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Limiter):
        async def settle(self, principal: str, tokens: int) -> None:
            await anyio.sleep_forever()

    entered = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await anyio.sleep_forever()

    monkeypatch.setattr(guard, "AFTERMATH_TIMEOUT", 0.01)
    client = world.client(world.guard(app, limiter=Hanging(LimitSettings())))
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.post("/mcp", **call()))
            await entered.wait()
            tasks.cancel_scope.cancel()
    assert world.events.kinds() == [Kind.CALL_ALLOWED, Kind.CALL_FINISHED]


@pytest.mark.parametrize(
    ("kind", "body", "token"),
    [
        (Kind.CALL_DENIED, call("forbidden"), ""),
        (Kind.INPUT_REJECTED, call(arguments={}), ""),
        (Kind.REQUEST_REJECTED, legacy("ping", jsonrpc="1"), ""),
        (Kind.AUTHENTICATION_FAILED, call(), "a.b.c"),
        (Kind.REQUEST_REJECTED, call(), None),
    ],
)
async def test_each_refusal_has_one_event_with_the_id_of_its_answer(
    world: World, kind: Kind, body: dict[str, Any], token: str | None
) -> None:
    response = await world.client(token=token).post("/mcp", **body)
    assert world.events.kinds() == [kind]
    event = world.events.events[0]
    assert event.correlation_id == response.headers["x-correlation-id"]
    assert event.reason
    assert event.subject == ("alice" if token == "" else "")
    assert event.detail["status"] == response.status_code


async def test_a_strangers_correlation_id_is_not_taken_over(world: World) -> None:
    response = await world.client().post("/mcp", **{**call(), "headers": {"x-correlation-id": "forged"}})
    ours = response.headers.get_list("x-correlation-id")
    assert len(ours) == 1
    assert ours[0] not in {"forged", "made up by the app"}
    assert world.app.header("x-correlation-id") == ours[0]
    assert world.app.scopes[0]["state"]["correlation_id"] == ours[0]


async def test_a_call_that_fails_in_the_app_is_recorded_as_failed(world: World) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("secret of the app")

    with pytest.raises(LookupError):
        await world.client(world.guard(app)).post("/mcp", **call())
    assert world.events.kinds() == [Kind.CALL_ALLOWED, Kind.CALL_FINISHED]
    finished = world.events.events[1]
    assert (finished.detail["status"], finished.reason) == (0, "the app raised LookupError")


async def test_a_call_that_was_cancelled_is_recorded_as_not_ended(world: World) -> None:
    called = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:

        async def goes_away() -> None:
            await world.client(world.guard(app)).post("/mcp", **call())

        tasks.start_soon(goes_away)
        await called.wait()
        tasks.cancel_scope.cancel()
    assert world.events.kinds() == [Kind.CALL_ALLOWED, Kind.CALL_FINISHED]
    assert world.events.events[1].reason == "the call did not end"


async def test_what_a_caller_writes_cannot_forge_an_event(world: World) -> None:
    await world.client().post("/mcp", **call("x\r\n2026 call.allowed \x1b[2J" + "y" * 5000))
    (event,) = world.events.events
    assert event.target.isprintable()
    assert len(event.target) <= 512


def everything(events: list[Event]) -> str:
    return "\n".join(f"{event!r}" for event in events)


async def test_no_event_holds_a_token_or_an_argument(world: World) -> None:
    token = world.mint()
    wrapped = world.guard()
    for body in (call(arguments={"customer_id": "TOPSECRET"}), call(arguments={"customer_id": "no such secret"})):
        await world.client(wrapped, token).post("/mcp", **body)
    await world.client(wrapped, token[:-4] + "AAAA").post("/mcp", **call())
    assert len(world.events.events) == 4
    for secret in (token.rpartition(".")[2][:-4], "TOPSECRET", "no such secret"):
        assert secret not in everything(world.events.events)


async def test_a_websocket_is_refused_and_recorded(world: World) -> None:
    headers = [(b"host", b"localhost:8000"), (b"authorization", f"Bearer {world.mint()}".encode())]
    scope = {"type": "websocket", "path": "/mcp", "headers": headers, "query_string": b""}
    for failing in (False, True):
        if failing:
            world.events.fail()
        sent = await asgi(world.guard(), scope, [{"type": "websocket.connect"}])
        assert sent == [{"type": "websocket.close", "code": 1008}]
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.REQUEST_REJECTED]


class _Defective(Limiter):
    async def admit(self, principal: str, tokens: int, *, client: str = "", tool: str = "") -> Admission:
        raise RuntimeError("a defect with a secret in it")


async def test_a_defect_in_a_decision_refuses_the_call_and_is_recorded(world: World) -> None:
    guard = world.guard(limiter=_Defective(LimitSettings()))
    response = await world.client(guard).post("/mcp", **call())
    assert (response.status_code, response.json()["error"]["code"]) == (500, -32603)
    assert "secret" not in response.text
    assert world.app.scopes == []
    assert [(event.kind, event.reason) for event in world.events.events] == [(Kind.REQUEST_REJECTED, "RuntimeError")]
