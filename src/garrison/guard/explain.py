"""A `Decision` in words, for people. Nothing is judged here: what is told is what the decision says."""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from garrison.guard.asked import Asked
from garrison.guard.decision import NAMED, Decision, conditions_after_scopes, conditions_before_scopes
from garrison.guard.policy import Policy, Rule
from garrison.oauth import scope
from garrison.oauth.access_token import AccessToken


class Outcome(StrEnum):
    HOLDS = "holds"
    FAILS = "fails"
    NOT_REACHED = "not reached"


class Step(NamedTuple):
    outcome: Outcome
    text: str


def explain(policy: Policy, token: AccessToken, decision: Decision) -> list[Step]:
    """What was looked at, in the order of looking; what stands behind the first failure was not reached."""
    return [
        *_conditions(decision, before=True),
        *_scopes(policy, token, decision),
        *_conditions(decision, before=False),
    ]


def verdict(decision: Decision) -> str:
    """One sentence: allowed or not, and why."""
    if decision.allowed:
        return "allowed"
    if decision.missing:
        return f"denied: HTTP 403, with a challenge for the scope {scope.render(decision.needed)}"
    return f"denied: HTTP 403, no scope would help ({decision.why})"


def _conditions(decision: Decision, *, before: bool) -> Iterator[Step]:
    reached = before or (decision.who and not decision.missing)
    for index, thing in enumerate(decision.asked):
        for name in (conditions_before_scopes if before else conditions_after_scopes)(thing):
            fails = decision.failed == (index, name)
            outcome = Outcome.NOT_REACHED if not reached else Outcome.FAILS if fails else Outcome.HOLDS
            yield Step(outcome, _text(thing, name))
            reached = reached and not fails


def _scopes(policy: Policy, token: AccessToken, decision: Decision) -> Iterator[Step]:
    """All of the operation's, whether or not it came to them."""
    rules = [thing.rule for thing in decision.asked if thing.rule is not None]
    for needed in sorted(frozenset().union(*(rule.scopes for rule in rules))):
        if not decision.who:
            yield Step(Outcome.NOT_REACHED, f"scope {needed}")
        elif needed in decision.missing:
            yield Step(Outcome.FAILS, f"scope {needed}: missing")
        elif needed in token.scopes:
            yield Step(Outcome.HOLDS, f"scope {needed}: in the token")
        else:
            above = [held for held in token.scopes if needed in policy.included(frozenset({held}))]
            yield Step(Outcome.HOLDS, f"scope {needed}: by the hierarchy, from {scope.render(above)}")


def _text(thing: Asked, condition: str) -> str:
    rule = thing.rule
    if condition == NAMED or rule is None:
        called = f"{thing.kind} {thing.name}"
        if rule is None:
            return f"{called}: the policy names no such thing"
        return f"{called}: named" if thing.key == thing.name else f"{called}: named, by {thing.key}"
    return f"{condition}{_demand(rule, condition)}"


def _demand(rule: Rule, condition: str) -> str:
    among = {"issuer": rule.issuers, "subject": rule.subjects, "client": rule.clients}.get(condition)
    if among is not None:
        return f": one of {', '.join(sorted(among))}"
    kind, _, name = condition.partition(" ")
    return f": {rule.arguments[name]}" if kind == "argument" else ""
