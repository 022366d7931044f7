"""Deny by default: who may send which message, and the challenge for more scope (RFC 6750 §3.1)."""

from typing import Any

import httpx2
import pytest
from mcp_types import methods

from garrison.base.errors import UsageError
from garrison.base.events import Kind
from garrison.guard import authorize
from garrison.guard.policy import Policy, Rule
from garrison.oauth import challenge
from tests.guard.world import POLICY, World, legacy, modern

GONE = {"resources/subscribe", "resources/unsubscribe"}
"""Ruled methods that 2026-07-28 took away."""
METADATA = "http://localhost:8000/.well-known/oauth-protected-resource/mcp"


def in_eras(*cases: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Each of `cases` in every era that has its method."""
    return [(era, *case) for case in cases for era in (legacy, modern) if era is legacy or case[0] not in GONE]


def said(value: Any) -> str:
    """A parameter in a test's name: the same in every process."""
    return str(getattr(value, "__name__", value))


def denied(world: World, response: httpx2.Response, status: int = 403) -> None:
    assert response.status_code == status, response.text
    assert response.json()["error"]["code"] in {-32003, -32601}
    assert response.json()["id"] == 1
    assert "www-authenticate" not in response.headers
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.CALL_DENIED]


@pytest.mark.parametrize(
    ("era", "method", "params"),
    in_eras(
        ("tools/call", {"name": "forbidden", "arguments": {}}),
        ("tools/call", {"name": "Get_customer_info"}),
        ("tools/call", {"name": "get_customer_info "}),
        ("tools/call", {"name": ""}),
        ("tools/call", {}),
        ("prompts/get", {"name": "unknown"}),
        ("resources/read", {"uri": "file:///etc/passwd"}),
        ("resources/read", {"uri": "HEALTH://status"}),
        ("resources/read", {"uri": "health://status/../x"}),
        ("resources/subscribe", {"uri": "other://x"}),
        ("resources/unsubscribe", {"uri": "other://x"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "unknown"}}),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "other://{x}"}}),
        ("completion/complete", {"ref": {"uri": "health://status", "name": "unknown"}}),
        ("completion/complete", {}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["health://status", "other://x"]}}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": "health://status"}}),
        ("subscriptions/listen", {"notifications": {"resource_subscriptions": ["security://events"]}}),
        ("subscriptions/listen", {"notifications": {"taskIds": ["1"]}}),
        ("subscriptions/listen", {}),
    ),
    ids=said,
)
async def test_what_the_policy_does_not_name_is_denied_whatever_scope_there_is(
    world: World, era: Any, method: str, params: dict[str, Any]
) -> None:
    denied(world, await world.client().post("/mcp", **era(method, params)))


@pytest.mark.parametrize("params", [{"name": ["whoami"]}, {"name": {"a": 1}}, {"name": None}, {"name": 7}], ids=str)
async def test_a_name_that_is_no_text_names_nothing(world: World, params: dict[str, Any]) -> None:
    denied(world, await world.client().post("/mcp", **legacy("tools/call", params)))
    assert world.events.events[0].target == "tools/call"


@pytest.mark.parametrize(
    "method",
    ["tasks/get", "tasks/list", "tasks/result", "tasks/cancel", "sampling/createMessage", "roots/list", "", "x/y"],
)
async def test_a_method_without_an_entry_is_denied_in_both_eras(world: World, method: str) -> None:
    params = {"taskId": "1"}
    denied(world, await world.client().post("/mcp", **legacy(method, params)), 400)
    world.events.events.clear()
    denied(world, await world.client().post("/mcp", **modern(method, params)), 404)


@pytest.mark.parametrize("method", sorted({method for method, _ in methods.CLIENT_REQUESTS} - authorize._MODERN))
async def test_a_method_that_the_newer_revision_took_away_is_not_found_in_it(world: World, method: str) -> None:
    denied(world, await world.client().post("/mcp", **modern(method, {"uri": "health://status"})), 404)


async def test_a_call_that_asks_for_a_task_is_denied(world: World) -> None:
    """It would go on after the answer, unwatched, and its result could be asked for by its id."""
    params = {"name": "whoami", "arguments": {}, "task": {"ttl": 1}}
    denied(world, await world.client().post("/mcp", **legacy("tools/call", params)))


@pytest.mark.parametrize("method", ["tools/call", "notifications/initialized/x", "notifications/message", "ping"])
async def test_a_notification_may_not_be_what_only_a_request_may(world: World, method: str) -> None:
    body = {"jsonrpc": "2.0", "method": method, "params": {"name": "whoami", "arguments": {}}}
    response = await world.client().post("/mcp", json=body)
    assert response.status_code == 403
    assert world.app.scopes == []


async def test_a_request_may_not_be_what_only_a_notification_may(world: World) -> None:
    denied(world, await world.client().post("/mcp", **legacy("notifications/initialized")), 400)


def test_every_request_of_every_revision_has_an_entry_and_nothing_else_has() -> None:
    assert set(authorize.FREE) | set(authorize.RULED) == methods.SPEC_CLIENT_METHODS
    assert not set(authorize.FREE) & set(authorize.RULED)
    assert authorize.NOTIFICATIONS == methods.SPEC_CLIENT_NOTIFICATION_METHODS


@pytest.mark.parametrize("method", sorted(authorize.FREE))
async def test_any_authenticated_caller_may_ask_what_there_is(world: World, method: str) -> None:
    assert (await world.client(token=world.mint("")).post("/mcp", **legacy(method))).status_code == 200


@pytest.mark.parametrize("method", sorted(authorize.NOTIFICATIONS))
async def test_any_authenticated_caller_may_send_the_clients_notifications(world: World, method: str) -> None:
    body = {"jsonrpc": "2.0", "method": method}
    assert (await world.client(token=world.mint("")).post("/mcp", json=body)).status_code == 200


SCOPED = [
    ("tools/call", {"name": "get_customer_info", "arguments": {"customer_id": "ABC123"}}, "customer:read"),
    (
        "tools/call",
        {"name": "create_support_ticket", "arguments": {"customer_id": "ABC123"}},
        "customer:read ticket:create",
    ),
    ("resources/read", {"uri": "security://events"}, "security:read"),
    ("resources/subscribe", {"uri": "security://events"}, "security:read"),
    ("resources/unsubscribe", {"uri": "security://events"}, "security:read"),
    ("prompts/get", {"name": "greet"}, "customer:read"),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "greet"}}, "customer:read"),
    ("completion/complete", {"ref": {"type": "ref/resource", "uri": "security://events"}}, "security:read"),
    ("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["security://events"]}}, "security:read"),
    (
        "subscriptions/listen",
        {"notifications": {"resourceSubscriptions": ["security://events", "health://status"]}},
        "security:read",
    ),
]


@pytest.mark.parametrize(("era", "method", "params", "needed"), in_eras(*SCOPED), ids=said)
async def test_missing_scope_is_a_step_up_challenge_before_the_app_sees_the_call(
    world: World, era: Any, method: str, params: dict[str, Any], needed: str
) -> None:
    others = POLICY.scopes() - {needed.rpartition(" ")[2]}
    response = await world.client(token=world.mint(" ".join(others))).post("/mcp", **era(method, params))
    assert response.status_code == 403, response.text
    found = challenge.bearer(response.headers.get_list("www-authenticate"))
    assert found
    assert found.params["error"] == "insufficient_scope"
    assert found.params["scope"] == needed
    assert found.params["resource_metadata"] == METADATA
    assert response.json()["error"]["data"] == {"error": "insufficient_scope", "scope": needed}
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.CALL_DENIED]


@pytest.mark.parametrize(("era", "method", "params", "needed"), in_eras(*SCOPED), ids=said)
async def test_exactly_the_scope_that_is_asked_for_is_enough(
    world: World, era: Any, method: str, params: dict[str, Any], needed: str
) -> None:
    response = await world.client(token=world.mint(needed)).post("/mcp", **era(method, params))
    assert response.status_code == 200, response.text


async def test_a_rule_without_scopes_asks_for_authentication_only(world: World) -> None:
    response = await world.client(token=world.mint("")).post(
        "/mcp", **legacy("resources/read", {"uri": "health://status"})
    )
    assert response.status_code == 200


async def test_list_changes_are_free_to_listen_to(world: World) -> None:
    wanteds: list[dict[str, Any]] = [
        {
            "toolsListChanged": True,
            "promptsListChanged": True,
            "resourcesListChanged": True,
            "resourceSubscriptions": [],
        },
        {"resourceSubscriptions": []},
        {"resourceSubscriptions": None},
    ]
    for wanted in wanteds:
        request = modern("subscriptions/listen", {"notifications": wanted})
        assert (await world.client(token=world.mint("")).post("/mcp", **request)).status_code == 200


@pytest.mark.parametrize("reply", [{"result": {}}, {"error": {"code": 1, "message": "no"}}], ids=str)
async def test_a_clients_response_is_let_through_only_inside_a_session(world: World, reply: dict[str, Any]) -> None:
    guard = world.guard()
    world.app.session_id = b"s1"
    bound = (await world.client(guard).post("/mcp", **legacy("initialize"))).headers["mcp-session-id"]
    body = {"jsonrpc": "2.0", "id": 1, **reply}
    client = world.client(guard)
    assert (await client.post("/mcp", json=body)).status_code == 400
    assert (await client.post("/mcp", json=body, headers={"mcp-session-id": bound})).status_code == 200
    headers = {"mcp-session-id": bound, "mcp-protocol-version": "2026-07-28"}
    assert (await client.post("/mcp", json=body, headers=headers)).status_code == 400


def test_all_scopes_of_the_policy_are_known() -> None:
    assert POLICY.scopes() == {"customer:read", "ticket:create", "security:read"}


@pytest.mark.parametrize("kind", ["tools", "resources", "prompts"])
def test_a_policy_cannot_be_changed_after_it_was_made(kind: str) -> None:
    rules = {"a": Rule()}
    policy = Policy(**{kind: rules})  # type: ignore[arg-type]  # kind is none of the hierarchy's
    rules["b"] = Rule()
    assert set(getattr(policy, kind)) == {"a"}
    with pytest.raises(TypeError):
        getattr(policy, kind)["b"] = Rule()
    assert not policy.is_empty()


@pytest.mark.parametrize(
    "scopes", ["customer:read", {"a"}, frozenset({"a b"}), frozenset({'"'}), frozenset({""}), frozenset({7})]
)
def test_a_scope_that_could_not_travel_is_refused_in_a_rule(scopes: Any) -> None:
    with pytest.raises(UsageError):
        Rule(scopes)


async def test_one_request_is_told_of_so_many_characters_of_uris(world: World) -> None:
    """Each is held against every template: a megabyte took a second."""
    client = world.client(world.guard(policy=Policy(resources={"files:///{path*}": Rule()})))
    uri = "files:///" + "a" * 8000
    for times, status in ((8, 200), (9, 403)):
        wanted = {"notifications": {"resourceSubscriptions": [uri] * times}}
        assert (await client.post("/mcp", **modern("subscriptions/listen", wanted))).status_code == status
