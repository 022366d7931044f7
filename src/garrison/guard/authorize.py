"""May this caller send this message: every method of MCP has one entry here, and what has none is denied.

The methods are those of all revisions (mcp_types.methods); tasks/* are left out, as they are there: a task id would be
a key to another caller's result.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mcp_types.methods import CLIENT_REQUESTS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from garrison.guard.policy import Policy, Rule
from garrison.guard.refusal import Denied, MethodNotFound, Refusal, ScopeMissing
from garrison.guard.types import Caller, Message, Shape
from garrison.oauth import challenge, scope

Params = Mapping[str, Any]
RulesOf = Callable[[Policy, Params], Iterator[Rule | None]]
"""The rules that all must allow a request; None among them for a thing that the policy doesn't name."""

_SUBSCRIPTIONS = frozenset({"toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions"})
"""All there is to subscribe to: another spelling that the app understood would ask past the policy."""


def _tool(policy: Policy, params: Params) -> Iterator[Rule | None]:
    """Not as a task: that would go on after the answer, where nobody watches it."""
    yield None if params.get("task") is not None else _named(policy.tools, params.get("name"))


def _prompt(policy: Policy, params: Params) -> Iterator[Rule | None]:
    yield _named(policy.prompts, params.get("name"))


def _resource(policy: Policy, params: Params) -> Iterator[Rule | None]:
    yield _named(policy.resources, params.get("uri"))


def _completion(policy: Policy, params: Params) -> Iterator[Rule | None]:
    """Completing an argument tells about the prompt or resource that has it."""
    ref = params.get("ref")
    if isinstance(ref, Mapping) and ref.get("type") == "ref/prompt":
        yield _named(policy.prompts, ref.get("name"))
    elif isinstance(ref, Mapping) and ref.get("type") == "ref/resource":
        yield _named(policy.resources, ref.get("uri"))
    else:
        yield None


def _subscription(policy: Policy, params: Params) -> Iterator[Rule | None]:
    """List changes are free; being told of a resource's updates needs what reading it needs."""
    wanted = params.get("notifications")
    if not isinstance(wanted, Mapping) or not wanted.keys() <= _SUBSCRIPTIONS:
        yield None
        return
    uris = wanted.get("resourceSubscriptions")
    for uri in uris if isinstance(uris, list) else [] if uris is None else [None]:
        yield _named(policy.resources, uri)


def _named(rules: Mapping[str, Rule], name: object) -> Rule | None:
    return rules.get(name) if isinstance(name, str) else None


def _picks_version(params: Params) -> bool:
    """FastMCP serves older versions of a thing on request; rules and schemas speak of the one that it offers."""
    meta = params.get("_meta")
    picked = meta.get("fastmcp") if isinstance(meta, Mapping) else None
    return isinstance(picked, Mapping) and picked.get("version") is not None


FREE = frozenset(
    {
        "initialize",
        "logging/setLevel",
        "ping",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "server/discover",
        "tools/list",
    }
)
"""Requests that need no more than authentication."""
RULED: Mapping[str, RulesOf] = {
    "completion/complete": _completion,
    "prompts/get": _prompt,
    "resources/read": _resource,
    "resources/subscribe": _resource,
    "resources/unsubscribe": _resource,
    "subscriptions/listen": _subscription,
    "tools/call": _tool,
}
"""Requests that the policy decides."""
NOTIFICATIONS = frozenset(
    {
        "notifications/cancelled",
        "notifications/initialized",
        "notifications/progress",
        "notifications/roots/list_changed",
    }
)
"""Notifications that need no more than authentication; the app takes them for the caller's own session only."""

_MODERN = frozenset(method for method, version in CLIENT_REQUESTS if version in MODERN_PROTOCOL_VERSIONS)
"""What is left without handshake and sessions; of the others MCP 2026-07-28 wants a 404."""


class Authorizer:
    """Args: metadata_url: for the challenge (RFC 9728 §5.1)."""

    def __init__(self, policy: Policy, metadata_url: str) -> None:
        self._policy = policy
        self._metadata_url = metadata_url

    def check(self, caller: Caller, message: Message, *, in_session: bool) -> None:
        """Passes what the policy allows.

        Raises:
            Denied: nothing that the caller could ask for would allow it.
            MethodNotFound: MCP has no such method, or not in this revision.
            ScopeMissing: an access token with more scope would.
            Refusal: a response that answers nothing.
        """
        if message.shape is Shape.RESPONSE:
            if not in_session or message.modern:
                raise Refusal("There is no session in which that could answer anything.")
        elif message.shape is Shape.NOTIFICATION:
            if message.method not in NOTIFICATIONS:
                raise Denied("That notification is not allowed here.")
        elif message.modern and message.method not in _MODERN:
            raise MethodNotFound("There is no such method in this revision.", status=404)
        elif message.method not in FREE:
            self._check_ruled(caller, message)

    def _check_ruled(self, caller: Caller, message: Message) -> None:
        rules_of = RULED.get(message.method)
        if rules_of is None:
            raise MethodNotFound("There is no such method here.", status=400)
        if _picks_version(message.params):
            raise Denied("Another version than the one offered can't be asked for here.")
        needed: frozenset[str] = frozenset()
        for rule in rules_of(self._policy, message.params):
            if rule is None:
                raise Denied("There is no such thing here for this caller.", reason="the policy names no such thing")
            needed |= rule.scopes
        if not scope.covers(caller.token.scopes, needed):
            raise self._scope_missing(needed, caller)

    def _scope_missing(self, needed: frozenset[str], caller: Caller) -> ScopeMissing:
        """RFC 6750 §3.1 and MCP's step-up: the challenge names every scope of the operation, not only the missing."""
        rendered = challenge.render(
            error="insufficient_scope",
            error_description="this operation needs more scope",
            scope=scope.render(needed),
            resource_metadata=self._metadata_url,
        )
        return ScopeMissing(
            f"This needs the scope: {scope.render(needed)}.",
            reason=f"scope missing: {scope.render(needed - caller.token.scopes)}",
            headers={"www-authenticate": rendered},
            data={"error": "insufficient_scope", "scope": scope.render(needed)},
        )
