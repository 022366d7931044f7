"""The policy's parts, hierarchy, callers, arguments and `when`, and what each tells to whom."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.base.errors import UsageError
from garrison.base.events import Kind
from garrison.content.schema import ToolSchemas
from garrison.guard import authorize
from garrison.guard.authorize import Authorizer
from garrison.guard.conditions import Bounds, OneOf, at_least, at_most, between, one_of
from garrison.guard.policy import Policy, Rule, needs
from garrison.guard.refusal import Denied, ScopeMissing
from garrison.guard.rule import PolicyContext
from garrison.guard.types import Caller, Message, Shape
from garrison.oauth import challenge
from garrison.oauth.access_token import AccessToken
from tests.guard.world import World, legacy, modern

ERAS = pytest.mark.parametrize("era", [legacy, modern])
OPEN = {"type": "object"}
GONE = "There is no such thing here for this caller."


def token(scopes: str = "", subject: str = "alice", client: str = "desk", issuer: str = "https://as.example") -> Any:
    return AccessToken(issuer, subject, client, (), frozenset(scopes.split()), 0, 0, "", {"level": [1]})


def check(policy: Policy, by: AccessToken, method: str, params: Mapping[str, Any]) -> Denied | None:
    """What the guard's own stage says: the refusal, or None where it lets the request through."""
    message = Message(Shape.REQUEST, method, 1, params, b"", modern=method in authorize._MODERN)
    try:
        Authorizer(policy, "https://x/meta", {}).check(Caller(by, "p", "f"), message, in_session=False)
    except Denied as denied:
        return denied
    return None


def call(policy: Policy, by: AccessToken, **arguments: Any) -> Denied | None:
    return check(policy, by, "tools/call", {"name": "t", "arguments": arguments})


# Hierarchy

DEEP = Policy(
    tools={"t": needs("users:read", "pay")},
    hierarchy={"admin:all": {"users:all", "pay"}, "users:all": {"users:read"}},
)


@pytest.mark.parametrize("scopes", ["users:read pay", "admin:all", "users:all pay", "admin:all other"])
def test_a_scope_is_had_by_any_that_includes_it_however_far_up(scopes: str) -> None:
    assert call(DEEP, token(scopes)) is None


@pytest.mark.parametrize("scopes", ["", "users:all", "pay", "admin", "admin:al", "users:read", "ADMIN:ALL pay"])
def test_a_challenge_names_the_rules_own_scopes_and_all_of_them(scopes: str) -> None:
    refused = call(DEEP, token(scopes))
    assert isinstance(refused, ScopeMissing)
    found = challenge.bearer([refused.headers["www-authenticate"]])
    assert found
    assert found.params["scope"] == "pay users:read"


def test_a_scope_below_does_not_open_what_needs_the_one_above() -> None:
    policy = Policy(tools={"t": needs("admin:all")}, hierarchy={"admin:all": {"users:read"}})
    assert isinstance(call(policy, token("users:read")), ScopeMissing)


@pytest.mark.parametrize(
    "hierarchy",
    [
        {"a": {"a"}},
        {"a": {"b"}, "b": {"a"}},
        {"a": {"b"}, "b": {"c"}, "c": {"a"}},
        {"x": {"a"}, "a": {"b"}, "b": {"a"}},
    ],
    ids=str,
)
def test_a_hierarchy_that_goes_round_is_refused(hierarchy: dict[str, set[str]]) -> None:
    with pytest.raises(UsageError, match="circle"):
        Policy(tools={"t": needs()}, hierarchy=hierarchy)


@pytest.mark.parametrize(
    "hierarchy", [{"a": "b"}, {"a b": {"c"}}, {"a": {"b c"}}, {"a": {7}}, {7: {"a"}}, ["a"]], ids=str
)
def test_a_hierarchy_of_something_else_than_scopes_is_refused(hierarchy: Any) -> None:
    with pytest.raises(UsageError):
        Policy(hierarchy=hierarchy)


def test_the_scopes_that_clients_are_told_of_are_the_rules_own() -> None:
    assert DEEP.scopes() == {"users:read", "pay"}
    assert DEEP.grantable() == {"users:read", "pay", "users:all", "admin:all"}


@given(st.dictionaries(st.integers(0, 6), st.frozensets(st.integers(0, 6))), st.frozensets(st.integers(0, 6)))
def test_the_hierarchy_adds_exactly_what_can_be_reached(links: dict[int, frozenset[int]], held: frozenset[int]) -> None:
    hierarchy = {f"s{above}": {f"s{each}" for each in below if each > above} for above, below in links.items()}
    start = frozenset(f"s{each}" for each in held)
    reached = start
    for _ in range(8):
        reached |= frozenset().union(*(hierarchy.get(each, set()) for each in reached))
    assert Policy(hierarchy=hierarchy).included(start) == reached


def test_what_is_remembered_of_the_hierarchy_is_bounded() -> None:
    for number in range(3000):
        assert DEEP.included(frozenset({"users:all", f"s{number}"})) == {"users:all", "users:read", f"s{number}"}
    info: Any = DEEP._included
    assert info.cache_info().currsize <= info.cache_info().maxsize == 1024


# Callers


@pytest.mark.parametrize(
    ("rule", "condition"),
    [
        (needs("a", subjects={"bob"}), "subject"),
        (needs("a", clients={"phone", "Desk"}), "client"),
        (needs("a", issuers={"https://other.example"}), "issuer"),
        (needs("a", subjects={"alice"}, clients={"phone"}), "client"),
    ],
)
@pytest.mark.parametrize("scopes", ["", "a"])
def test_who_is_not_among_a_rules_callers_learns_nothing_of_it(rule: Rule, condition: str, scopes: str) -> None:
    """Neither that there is such a thing, nor its scopes: the answer is the one for a thing that isn't there."""
    refused = call(Policy(tools={"t": rule}), token(scopes))
    assert type(refused) is Denied
    assert (refused.message, refused.headers, refused.data) == (GONE, {}, None)
    assert refused.reason == f"the policy's condition failed: {condition}"
    unknown = check(Policy(tools={"t": rule}), token(scopes), "tools/call", {"name": "other"})
    assert unknown
    assert unknown.reason == "the policy names no such thing"
    assert unknown.message == refused.message


def test_who_is_among_them_all_is_let_through() -> None:
    rule = needs("a", subjects={"alice", "bob"}, clients={"desk"}, issuers={"https://as.example"})
    assert call(Policy(tools={"t": rule}), token("a")) is None


@pytest.mark.parametrize(
    "names", [frozenset(), {"a"}, "alice", frozenset({""}), frozenset({7}), frozenset({"*"})], ids=str
)
@pytest.mark.parametrize("kind", ["subjects", "clients", "issuers"])
def test_callers_that_are_no_set_of_exact_names_are_refused(kind: str, names: Any) -> None:
    with pytest.raises(UsageError):
        Rule(**{kind: names})


def test_one_text_is_no_set_of_names() -> None:
    with pytest.raises(UsageError):
        needs(subjects="alice")


# Arguments

ARGUED = Policy(tools={"t": needs("a", arguments={"region": {"eu", "uk"}, "amount": between(0, 100)})})
BAD_AMOUNTS: list[Any] = [-1, 100.01, 10**40, "1", True, None, [1], {}, ""]


def test_a_bound_may_be_a_number_that_no_float_holds() -> None:
    huge = 10**400
    assert at_most(huge).holds(huge)
    assert not at_most(huge).holds(huge + 1)


@pytest.mark.parametrize("amount", [0, 1, 99.5, 100, 1e2])
def test_arguments_within_the_conditions_are_let_through(amount: float) -> None:
    assert call(ARGUED, token("a"), region="eu", amount=amount, note="free") is None


@pytest.mark.parametrize(
    ("arguments", "failing"),
    [
        ({"region": "us", "amount": 1}, "region"),
        ({"amount": 1}, "region"),
        ({"region": "eu"}, "amount"),
        ({"region": ["eu"], "amount": 1}, "region"),
        ({"region": "EU", "amount": 1}, "region"),
        ({"region": "eu ", "amount": 1}, "region"),
        ({"region": None, "amount": 1}, "region"),
        *(({"region": "eu", "amount": bad}, "amount") for bad in BAD_AMOUNTS),
    ],
    ids=str,
)
def test_an_argument_that_breaks_its_condition_or_is_not_there_denies(arguments: dict[str, Any], failing: str) -> None:
    refused = call(ARGUED, token("a"), **arguments)
    assert type(refused) is Denied
    assert refused.reason == f"the policy's condition failed: argument {failing}"
    assert "www-authenticate" not in refused.headers
    assert "us" not in refused.message.split()


@pytest.mark.parametrize("arguments", [None, [], "region", 7, {}], ids=str)
def test_arguments_that_are_no_object_meet_no_condition(arguments: Any) -> None:
    assert type(check(ARGUED, token("a"), "tools/call", {"name": "t", "arguments": arguments})) is Denied
    assert type(check(ARGUED, token("a"), "tools/call", {"name": "t"})) is Denied


def test_without_the_scope_nothing_is_learnt_of_the_conditions_on_arguments() -> None:
    asked = [call(ARGUED, token(), region=region, amount=1) for region in ("eu", "us")]
    assert all(isinstance(refused, ScopeMissing) for refused in asked)
    assert len({str(refused and (refused.message, refused.data)) for refused in asked}) == 1


@pytest.mark.parametrize(
    ("allowed", "given"), [(one_of(True), 1), (one_of(1), True), (one_of(1), 1.0), (one_of(0), False)]
)
def test_a_value_is_compared_with_its_json_type(allowed: OneOf, given: Any) -> None:
    assert not allowed.holds(given)
    assert allowed.holds(next(iter(allowed.values)))


@pytest.mark.parametrize(
    "build",
    [
        one_of,
        lambda: one_of(1, True),
        lambda: one_of("a", "a"),
        lambda: one_of([]),  # type: ignore[arg-type]  # that is the point
        lambda: one_of(None),  # type: ignore[arg-type]
        lambda: OneOf("eu"),  # type: ignore[arg-type]
        Bounds,
        lambda: at_most(float("nan")),
        lambda: at_least(float("inf")),
        lambda: between(2, 1),
        lambda: at_most(True),
        lambda: at_most("1"),  # type: ignore[arg-type]
        lambda: needs(arguments={"a": "eu"}),  # type: ignore[dict-item]
        lambda: needs(arguments={"": at_most(1)}),
        lambda: needs(when="yes"),  # type: ignore[arg-type]
        lambda: needs(when=is_asleep),  # type: ignore[arg-type]
        lambda: Policy(tools={"t": "a"}),  # type: ignore[dict-item]
        lambda: Policy(tools={"": Rule()}),
        lambda: Policy(tools=["t"]),  # type: ignore[arg-type]
        lambda: Policy(prompts={"greet": Rule()}, completions={"gret": Rule()}),
        lambda: Policy(resources={"x://{id}": needs(arguments={"ID": {"7"}})}),
        lambda: Policy(resources={"x://fixed": needs(arguments={"id": {"7"}})}),
    ],
)
def test_a_condition_that_could_not_be_meant_is_refused(build: Callable[[], Any]) -> None:
    with pytest.raises(UsageError):
        build()


async def is_asleep(_context: PolicyContext) -> bool:
    return True


# `when`


class Truthy:
    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash(True)


async def coroutine() -> bool:
    return True


def test_true_is_true() -> None:
    assert call(Policy(tools={"t": needs(when=lambda _context: True)}), token()) is None


@pytest.mark.parametrize("answer", [False, None, 1, "yes", [1], Truthy(), coroutine], ids=lambda x: type(x).__name__)
def test_anything_else_than_true_denies(answer: Any) -> None:
    def asks(_context: PolicyContext) -> bool:
        found: Any = answer() if answer is coroutine else answer
        return found  # type: ignore[no-any-return]  # that is the point

    refused = call(Policy(tools={"t": needs(when=asks)}), token(), secret="s3cret-value")
    assert type(refused) is Denied
    assert refused.reason == "the policy's condition failed: when asks"


def test_an_exception_denies_and_its_text_goes_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(context: PolicyContext) -> bool:
        raise ValueError(f"no {context.arguments['secret']}")

    refused = call(Policy(tools={"t": needs(when=breaks)}), token(), secret="s3cret-value")
    assert refused
    assert "breaks" in refused.reason
    assert "ValueError" in caplog.text
    assert "s3cret-value" not in refused.reason + refused.message + caplog.text


def test_when_sees_who_and_what_and_changes_neither() -> None:
    seen: list[PolicyContext] = []

    def looks(context: PolicyContext) -> bool:
        seen.append(context)
        context.arguments["deep"].append("changed")
        context.claims["level"].append("changed")
        return True

    by, arguments = token("admin"), {"deep": ["kept"]}
    policy = Policy(tools={"t": needs("a", when=looks)}, hierarchy={"admin": {"a"}})
    assert call(policy, by, **arguments) is None
    (context,) = seen
    assert (context.subject, context.client_id, context.issuer) == ("alice", "desk", "https://as.example")
    assert (context.scopes, context.method, context.name) == (frozenset({"admin", "a"}), "tools/call", "t")
    assert (arguments, by.claims) == ({"deep": ["kept"]}, {"level": [1]})
    assert "kept" not in repr(context)
    with pytest.raises(AttributeError):
        context.subject = "root"  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError):
        context.arguments["x"] = 1  # type: ignore[index]  # that is the point


def test_when_is_asked_for_nobody_whom_the_rest_denies() -> None:
    def never(_context: PolicyContext) -> bool:
        raise AssertionError

    rule = needs("a", subjects={"alice"}, arguments={"x": at_most(1)}, when=never)
    policy = Policy(tools={"t": rule})
    for by, x in ((token("a", subject="bob"), 1), (token(""), 1), (token("a"), 2)):
        refused = call(policy, by, x=x)
        assert refused
        assert "never" not in refused.reason


# Resources, prompts, completion, subscriptions

TEMPLATED = Policy(
    resources={
        "users://{id}": needs("users:read"),
        "users://{id}/keys": needs("users:keys", arguments={"id": {"7", "8"}}),
        "users://admin": needs("admin"),
    },
    prompts={"greet": needs("greet", arguments={"language": {"en"}})},
    completions={"users://{id}": needs("users:list"), "greet": needs()},
)


@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe", "resources/unsubscribe"])
@pytest.mark.parametrize(
    ("uri", "scopes"),
    [("users://7", "users:read"), ("users://admin", "admin"), ("users://7/keys", "users:keys")],
)
def test_a_uri_needs_what_its_template_needs(method: str, uri: str, scopes: str) -> None:
    assert check(TEMPLATED, token(scopes), method, {"uri": uri}) is None
    assert isinstance(check(TEMPLATED, token("other"), method, {"uri": uri}), ScopeMissing)


def test_the_variables_of_a_template_are_arguments() -> None:
    refused = check(TEMPLATED, token("users:keys"), "resources/read", {"uri": "users://9/keys"})
    assert refused
    assert refused.reason == "the policy's condition failed: argument id"


def test_all_rules_of_all_templates_that_stand_for_a_uri_must_hold() -> None:
    policy = Policy(resources={"f:///{path*}": needs("a"), "f:///x/{name}": needs("b", subjects={"alice"})})
    assert check(policy, token("a b"), "resources/read", {"uri": "f:///x/y"}) is None
    for scopes in ("a", "b"):
        refused = check(policy, token(scopes), "resources/read", {"uri": "f:///x/y"})
        assert isinstance(refused, ScopeMissing)
        assert refused.data["scope"] == "a b"
    assert type(check(policy, token("a b", subject="bob"), "resources/read", {"uri": "f:///x/y"})) is Denied
    assert check(policy, token("a", subject="bob"), "resources/read", {"uri": "f:///y"}) is None


def test_a_subscription_needs_what_each_of_its_uris_needs() -> None:
    def listen(scopes: str, *uris: str) -> Denied | None:
        wanted = {"notifications": {"resourceSubscriptions": list(uris)}}
        return check(TEMPLATED, token(scopes), "subscriptions/listen", wanted)

    assert listen("users:read users:keys", "users://1", "users://7/keys") is None
    assert isinstance(listen("users:read", "users://1", "users://7/keys"), ScopeMissing)
    assert type(listen("users:read users:keys", "users://1", "users://9/keys")) is Denied
    assert type(listen("users:read", "users://1", "users://%2e%2e")) is Denied
    assert listen("users:read", *["users://1"] * 256) is None
    assert type(listen("users:read", *["users://1"] * 257)) is Denied


def complete(scopes: str, ref: dict[str, str], name: str, value: str, **before: str) -> Denied | None:
    context = {"context": {"arguments": before}} if before else {}
    params = {"ref": ref, "argument": {"name": name, "value": value}, **context}
    return check(TEMPLATED, token(scopes), "completion/complete", params)


def test_completing_needs_what_the_template_itself_needs_and_what_is_further_asked() -> None:
    ref = {"type": "ref/resource", "uri": "users://{id}"}
    assert complete("users:read users:list", ref, "id", "7") is None
    for scopes in ("users:read", "users:list", ""):
        refused = complete(scopes, ref, "id", "7")
        assert isinstance(refused, ScopeMissing)
        assert refused.data["scope"] == "users:list users:read"
    for uri in ("users://7", "users://{name}", "users://{id}/other"):
        assert type(complete("users:read users:list", {**ref, "uri": uri}, "id", "7")) is Denied


def test_completing_is_held_to_the_conditions_on_arguments_too() -> None:
    ref = {"type": "ref/prompt", "name": "greet"}
    assert complete("greet", ref, "name", "A", language="en") is None
    assert complete("greet", ref, "language", "en") is None
    assert type(complete("greet", ref, "name", "A", language="de")) is Denied
    assert type(complete("greet", ref, "name", "A")) is Denied


def test_a_completion_adds_to_the_rule_and_never_replaces_it() -> None:
    assert isinstance(complete("", {"type": "ref/prompt", "name": "greet"}, "language", "en"), ScopeMissing)


# Through the guard


@ERAS
async def test_a_failing_condition_is_a_403_without_challenge_and_an_event_that_names_it(
    world: World, era: Any
) -> None:
    policy = Policy(tools={"t": needs("customer:read", arguments={"region": {"eu"}})})
    guard = world.guard(policy=policy, schemas=ToolSchemas({"t": OPEN}))

    async def asked(region: str) -> httpx2.Response:
        request = era("tools/call", {"name": "t", "arguments": {"region": region}})
        return await world.client(guard).post("/mcp", **request)

    refused = await asked("s3cret-value")
    assert (refused.status_code, "www-authenticate" in refused.headers) == (403, False)
    assert refused.json()["error"]["message"] != GONE  # who could use it may know that it is there
    (event,) = world.events.events
    assert (event.kind, event.reason) == (Kind.CALL_DENIED, "the policy's condition failed: argument region")
    assert "s3cret-value" not in str(event) + refused.text
    assert world.app.scopes == []


async def test_a_tool_of_the_policy_without_a_schema_stops_the_start_and_is_named(world: World) -> None:
    policy = Policy(tools={"known": needs(), "gone": needs(), "also gone": needs()})
    with pytest.raises(UsageError, match="also gone, gone") as caught:
        world.guard(policy=policy, schemas=ToolSchemas({"known": OPEN, "unnamed": OPEN}))
    assert "known," not in caught.value.message
    world.guard(policy=Policy(tools={"known": needs()}), schemas=ToolSchemas({"known": OPEN, "unnamed": OPEN}))


async def test_with_several_issuers_a_rule_that_names_callers_says_whose(world: World) -> None:
    issuers = ["https://a.example", "https://b.example"]
    for rule in (needs(subjects={"alice"}), needs(clients={"desk"})):
        with pytest.raises(UsageError, match="several issuers"):
            world.guard(policy=Policy(resources={"x://a": rule}), issuer=issuers)
        world.guard(policy=Policy(resources={"x://a": rule}))
    named = needs(subjects={"alice"}, issuers={"https://a.example"})
    world.guard(policy=Policy(resources={"x://a": named, "x://b": needs("a")}), issuer=issuers)


async def test_schemas_know_which_tools_they_have() -> None:
    schemas = ToolSchemas({"t": OPEN})
    assert "t" in schemas
    assert "u" not in schemas
