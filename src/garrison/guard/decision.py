"""The one place where a policy is applied: the guard acts on the object that `garrison policy explain` puts in words.

The order is what leaks least:

1. who: the thing is named, and issuer, subject and client are among the rule's. Who fails here learns nothing, not even
   that there is such a thing.
2. scopes: of everything that is asked for, at once. Who fails here is told which to ask for: they are public anyway.
3. what: arguments, then `when`. Only who could use the thing at all learns that this call of it is not allowed; and
   code of the operator's runs for nobody else.
"""

import inspect
import json
import logging
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from garrison.guard import conditions
from garrison.guard.asked import Asked
from garrison.guard.policy import Policy, Rule
from garrison.guard.rule import PolicyContext
from garrison.oauth import scope
from garrison.oauth.access_token import AccessToken

NAMED = "named"
_NO_SCOPES: frozenset[str] = frozenset()

_log = logging.getLogger(__name__)


class Failed(NamedTuple):
    """The first condition that failed: `at` is the thing's place in `Decision.asked`."""

    at: int
    condition: str


class Decision(NamedTuple):
    """Whether a caller may have everything in `asked`.

    Attributes:
        needed: the scopes of all rules together, as far as it came to that.
        missing: those of them that the caller doesn't have.
        failed: the condition that failed first, if one did.
        who: whether everything before the scopes held.
    """

    asked: tuple[Asked, ...]
    needed: frozenset[str]
    missing: frozenset[str]
    failed: Failed | None
    who: bool

    @property
    def allowed(self) -> bool:
        return self.failed is None and not self.missing

    @property
    def why(self) -> str:
        """Why not, for events: it names the condition, never a value."""
        if self.failed is None:
            return f"scope missing: {scope.render(self.missing)}"
        if self.failed.condition == NAMED:
            return "the policy names no such thing"
        return f"the policy's condition failed: {self.failed.condition}"


def decide(policy: Policy, token: AccessToken, method: str, asked: tuple[Asked, ...]) -> Decision:
    """Judges a request; it needs everything that it asks for."""
    decision = decide_unseen(policy, token, asked)
    if decision.failed is not None or decision.missing:
        return decision
    for at, thing in enumerate(asked):
        rule = thing.rule
        if rule is not None and rule.judges_what and (failing := _what_fails(policy, token, method, thing, rule)):
            return decision._replace(failed=Failed(at, failing))
    return decision


def decide_unseen(policy: Policy, token: AccessToken, asked: tuple[Asked, ...]) -> Decision:
    """Judges as far as that can be done without a request's arguments: may the caller know of it at all?"""
    needed = _NO_SCOPES
    for at, thing in enumerate(asked):
        rule = thing.rule
        if rule is None:
            return Decision(asked, needed, _NO_SCOPES, Failed(at, NAMED), who=False)
        if rule.judges_who and (failing := _who_fails(rule, token)):
            return Decision(asked, needed, _NO_SCOPES, Failed(at, failing), who=False)
        needed = needed | rule.scopes if needed else rule.scopes
    return Decision(asked, needed, policy.missing(needed, token.scopes), None, who=True)


def conditions_before_scopes(thing: Asked) -> Iterator[str]:
    """The names of what is looked at before the scopes, in the order of looking."""
    yield NAMED
    if thing.rule is not None:
        names = (("issuer", thing.rule.issuers), ("subject", thing.rule.subjects), ("client", thing.rule.clients))
        yield from (name for name, among in names if among is not None)


def conditions_after_scopes(thing: Asked) -> Iterator[str]:
    """The names of what is looked at after the scopes, in the order of looking."""
    if thing.rule is not None:
        yield from (_argument(name) for name in thing.rule.arguments)
        if thing.rule.when is not None:
            yield _when(thing.rule)


def _who_fails(rule: Rule, token: AccessToken) -> str | None:
    if rule.issuers is not None and token.issuer not in rule.issuers:
        return "issuer"
    if rule.subjects is not None and token.subject not in rule.subjects:
        return "subject"
    if rule.clients is not None and token.client_id not in rule.clients:
        return "client"
    return None


def _what_fails(policy: Policy, token: AccessToken, method: str, thing: Asked, rule: Rule) -> str | None:
    for name in conditions.failing(rule.arguments, thing.arguments):
        return _argument(name)
    return _when(rule) if rule.when is not None and not _when_holds(policy, token, method, thing, rule) else None


def _when_holds(policy: Policy, token: AccessToken, method: str, thing: Asked, rule: Rule) -> bool:
    """True is True: a truthy object, an exception or a coroutine is no permission."""
    context = PolicyContext(
        subject=token.subject,
        client_id=token.client_id,
        issuer=token.issuer,
        scopes=policy.included(token.scopes),
        method=method,
        name=thing.name,
        # Copies: what is judged here is validated later, and the claims are remembered with the token.
        arguments=_copy(thing.arguments),
        claims=_copy(token.claims),
    )
    try:
        answer: object = rule.when(context) if rule.when is not None else None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no permission
        _log.warning("the condition %s raised %s: denied", rule.when_name, type(error).__name__)
        return False
    if inspect.iscoroutine(answer):
        answer.close()
    return answer is True


def _copy(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """As JSON, which it was: copy.deepcopy takes a second for a large message."""
    return MappingProxyType(json.loads(json.dumps(dict(values))))


def _argument(name: str) -> str:
    return f"argument {name}"


def _when(rule: Rule) -> str:
    return f"when {rule.when_name}"
