"""A policy as a table, the way it stands under [policy] in garrison.toml; from a table and back.

    [policy.tools.transfer]
    scopes = ["pay"]                       # always said; [] for any valid token
    clients = ["desk"]                     # and subjects, issuers
    arguments = { region = ["eu"], amount = { at_least = 0, at_most = 100 } }

    [policy.resources."users://{id}/profile"]
    scopes = ["users:read"]

    [policy.hierarchy]
    "admin:all" = ["pay", "users:read"]

What a rule's `when` asks can be said in Python only.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from garrison.base.errors import UsageError, did_you_mean
from garrison.guard.conditions import Bounds, Condition, OneOf, one_of
from garrison.guard.policy import Policy
from garrison.guard.rule import Rule

T = TypeVar("T")

_RULES = ("tools", "resources", "prompts", "completions")
_TABLES = (*_RULES, "hierarchy")
_AMONG = ("issuers", "subjects", "clients")
_KEYS = ("scopes", *_AMONG, "arguments")
_BOUNDS = ("at_least", "at_most")


def from_table(table: Any, place: str = "policy") -> Policy:
    """The policy that `table` says.

    Args:
        table: as a TOML parser gives it.
        place: what its keys are called in errors.

    Raises:
        UsageError: it has a key or a value that isn't understood; the nearest known key is named.
    """
    tables = _known(table, _TABLES, place)
    rules = {
        kind: {name: _rule(rule, f"{place}.{kind}.{name}") for name, rule in _table(given, f"{place}.{kind}").items()}
        for kind, given in tables.items()
        if kind in _RULES
    }
    hierarchy = {
        above: _texts(below, f"{place}.hierarchy.{above}")
        for above, below in _table(tables.get("hierarchy", {}), f"{place}.hierarchy").items()
    }
    return _at(place, lambda: Policy(**rules, hierarchy=hierarchy))


def to_table(policy: Policy) -> dict[str, Any]:
    """The table that says `policy`; equal policies give equal tables.

    Raises:
        UsageError: a rule has a `when`.
    """
    table: dict[str, Any] = {}
    for kind in _RULES:
        if rules := getattr(policy, kind):
            table[kind] = {name: _rule_table(rule) for name, rule in sorted(rules.items())}
    if policy.hierarchy:
        table["hierarchy"] = {above: sorted(below) for above, below in sorted(policy.hierarchy.items())}
    return table


def _rule(given: Any, place: str) -> Rule:
    table = _known(given, _KEYS, place)
    if "scopes" not in table:
        raise UsageError(f"{place} doesn't say its scopes", "Write scopes = [] if any valid token will do.")
    arguments = _table(table.get("arguments", {}), f"{place}.arguments")
    conditions = {name: _condition(each, f"{place}.arguments.{name}") for name, each in arguments.items()}
    issuers, subjects, clients = (_texts(table[name], f"{place}.{name}") if name in table else None for name in _AMONG)
    scopes = _texts(table["scopes"], f"{place}.scopes")
    return _at(place, lambda: Rule(scopes, issuers, subjects, clients, conditions))


def _condition(given: Any, place: str) -> Condition:
    if isinstance(given, list):
        return _at(place, lambda: one_of(*given))
    if not isinstance(given, dict):
        raise UsageError(f"{place} is neither a list of values nor bounds", 'Write ["eu"], or { at_most = 100 }.')
    bounds = _known(given, _BOUNDS, place)
    return _at(place, lambda: Bounds(**bounds))


def _rule_table(rule: Rule) -> dict[str, Any]:
    if rule.when is not None:
        raise UsageError(f"The condition {rule.when_name} is a function, which can't be written down.")
    table: dict[str, Any] = {"scopes": sorted(rule.scopes)}
    for name in _AMONG:
        if (among := getattr(rule, name)) is not None:
            table[name] = sorted(among)
    if rule.arguments:
        table["arguments"] = {name: _condition_table(each) for name, each in sorted(rule.arguments.items())}
    return table


def _condition_table(condition: Condition) -> Any:
    if isinstance(condition, OneOf):
        return sorted(condition.values, key=lambda value: (str(type(value)), value))
    bounds = {name: getattr(condition, name) for name in _BOUNDS}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _table(given: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise UsageError(f"{place} must be a table")
    return given


def _known(given: Any, known: tuple[str, ...], place: str) -> Mapping[str, Any]:
    table = _table(given, place)
    for key in table:
        if key not in known:
            raise UsageError(f"unknown key {place}.{key}", did_you_mean(key, known))
    return table


def _texts(given: Any, place: str) -> frozenset[str]:
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise UsageError(f"{place} must be a list of texts", 'Write ["a", "b"].')
    return frozenset(given)


def _at(place: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except UsageError as error:
        raise UsageError(f"{place}: {error.message}", error.hint) from error
