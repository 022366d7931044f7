"""May this caller send this message: every method of MCP has one entry here, and what has none is denied.

The methods are those of all revisions (mcp_types.methods); tasks/* are left out, as they are there: a task id would be
a key to another caller's result.
"""

from collections.abc import Mapping

from mcp_types.methods import CLIENT_REQUESTS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from garrison.guard import asked
from garrison.guard.asked import Finder, Params
from garrison.guard.decision import Decision, decide
from garrison.guard.policy import Policy
from garrison.guard.refusal import Denied, MethodNotFound, Refusal, ScopeMissing
from garrison.guard.types import Caller, Message, Shape
from garrison.oauth import challenge, scope
from garrison.oauth.access_token import AccessToken

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
RULED: Mapping[str, Finder] = {
    "completion/complete": asked.completion,
    "prompts/get": asked.prompt,
    "resources/read": asked.resource,
    "resources/subscribe": asked.resource,
    "resources/unsubscribe": asked.resource,
    "subscriptions/listen": asked.subscription,
    "tools/call": asked.tool,
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


def judge(policy: Policy, token: AccessToken, method: str, params: Params) -> Decision:
    """What `policy` says to a request that it decides: `method` is one of `RULED`."""
    return decide(policy, token, method, RULED[method](policy, params))


class Authorizer:
    """Judges messages by the policy.

    Args:
        policy: what may be done.
        metadata_url: for the challenge (RFC 9728 §5.1).
        scope_prefixes: by issuer, what its clients write before a scope that they ask for.
    """

    def __init__(self, policy: Policy, metadata_url: str, scope_prefixes: Mapping[str, str]) -> None:
        self._policy = policy
        self._metadata_url = metadata_url
        self._scope_prefixes = scope_prefixes

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
        if message.method not in RULED:
            raise MethodNotFound("There is no such method here.", status=400)
        if _picks_version(message.params):
            raise Denied("Another version than the one offered can't be asked for here.")
        decision = judge(self._policy, caller.token, message.method, message.params)
        if not decision.allowed:
            raise self._refusal(decision, caller)

    def _refusal(self, decision: Decision, caller: Caller) -> Denied:
        if decision.missing:
            return self._scope_missing(decision, caller)
        if decision.who:
            return Denied("The policy does not allow this call as it is.", reason=decision.why)
        # The same words whether it isn't there or isn't this caller's.
        return Denied("There is no such thing here for this caller.", reason=decision.why)

    def _scope_missing(self, decision: Decision, caller: Caller) -> ScopeMissing:
        """RFC 6750 §3.1 and MCP's step-up: the challenge names every scope of the operation, not only the missing."""
        needed = scope.render(decision.needed)
        prefix = self._scope_prefixes.get(caller.token.issuer, "")
        asked = scope.render(prefix + one for one in decision.needed)
        rendered = challenge.render(
            error="insufficient_scope",
            error_description="this operation needs more scope",
            scope=asked,
            resource_metadata=self._metadata_url,
        )
        return ScopeMissing(
            f"This needs the scope: {needed}.",
            reason=decision.why,
            headers={"www-authenticate": rendered},
            data={"error": "insufficient_scope", "scope": asked},
        )


def _picks_version(params: Params) -> bool:
    """FastMCP serves older versions of a thing on request; rules and schemas speak of the one that it offers."""
    meta = params.get("_meta")
    picked = meta.get("fastmcp") if isinstance(meta, dict) else None
    return isinstance(picked, dict) and picked.get("version") is not None
