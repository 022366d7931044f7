"""Who may do what: rules by tool, resource, URI template and prompt. What isn't named is denied.

    Policy(
        tools={"transfer": needs("pay", clients={"desk"}, arguments={"amount": at_most(100)}, when=office_hours)},
        resources={"health://status": needs(), "users://{id}/profile": needs("users:read")},
        hierarchy={"admin:all": {"users:read", "pay"}},
    )

A rule holds when all of it holds. An exact URI beats templates; of several templates that stand for one URI, all rules
must hold.
"""

import graphlib
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from garrison.base.errors import UsageError
from garrison.guard.rule import Rule, check_mapping, check_scopes, needs
from garrison.guard.uri_template import UriTemplate, folded, is_plain, is_template

__all__ = ["Policy", "Rule", "needs"]

REMEMBERED_SCOPES = 1024
"""Sets of scopes whose place in the hierarchy is remembered; callers' tokens have few different ones."""


class Match(NamedTuple):
    """A rule for a URI: what the policy calls it, and the variables of its template."""

    name: str
    rule: Rule
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Policy:
    """The whole policy.

    Args:
        tools, prompts: rules by exact name.
        resources: rules by exact URI, or by URI template where the key has braces.
        completions: further rules for completing arguments of a prompt, template or resource that is named above.
        hierarchy: scopes that include others, theirs included, and so on.

    Raises:
        UsageError: a rule is none, a template can't be matched without doubt, a condition is on a variable that the
            template lacks, a completion belongs to nothing, or the hierarchy goes round in a circle.
    """

    tools: Mapping[str, Rule] = field(default_factory=dict)
    resources: Mapping[str, Rule] = field(default_factory=dict)
    prompts: Mapping[str, Rule] = field(default_factory=dict)
    completions: Mapping[str, Rule] = field(default_factory=dict)
    hierarchy: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    _exact: Mapping[str, Match] = field(init=False, repr=False, compare=False)
    _exact_folded: frozenset[str] = field(init=False, repr=False, compare=False)
    _templates: tuple[UriTemplate, ...] = field(init=False, repr=False, compare=False)
    _included: Callable[[frozenset[str]], frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("tools", "resources", "prompts", "completions"):
            self._set(name, _checked_rules(name, getattr(self, name)))
        self._set("hierarchy", _checked_hierarchy(self.hierarchy))
        self._check_completions()
        exact = {uri: Match(uri, rule, {}) for uri, rule in self.resources.items() if not is_template(uri)}
        self._set("_exact", exact)
        self._set("_exact_folded", frozenset(map(folded, exact)))
        self._set("_templates", tuple(UriTemplate.parse(uri) for uri in self.resources if is_template(uri)))
        self._check_variables()
        closure = _closure(self.hierarchy)
        self._set(
            "_included",
            lru_cache(REMEMBERED_SCOPES)(lambda held: held.union(*(closure[each] for each in held & closure.keys()))),
        )

    def matches(self, uri: str) -> tuple[Match, ...]:
        """The rules for `uri`, which all must hold; none for one that the policy doesn't name.

        There is none either for a URI that a template stands for, but that somebody who reads it less exactly could
        take for another one that the policy knows: a way around that other one's rule.
        """
        if exact := self._exact.get(uri):
            return (exact,)
        if not self._templates or not is_plain(uri):
            return ()
        loose = folded(uri)
        if loose in self._exact_folded:
            return ()
        found = []
        for template in self._templates:
            if not template.could_match(uri, loose):
                continue
            variables = template.match(uri)
            if (variables is not None) != template.matches_folded(loose):
                return ()
            if variables is not None:
                found.append(Match(template.text, self.resources[template.text], variables))
        return tuple(found)

    def missing(self, needed: frozenset[str], held: frozenset[str]) -> frozenset[str]:
        """The scopes of `needed` that `held` doesn't have, neither itself nor by the hierarchy."""
        lacking = needed - held
        return lacking - self._included(held) if lacking and self.hierarchy else lacking

    def included(self, held: frozenset[str]) -> frozenset[str]:
        """`held`, and every scope that the hierarchy adds to it."""
        return self._included(held)

    def rules(self) -> tuple[Rule, ...]:
        groups = (self.tools, self.resources, self.prompts, self.completions)
        return tuple(rule for group in groups for rule in group.values())

    def scopes(self) -> frozenset[str]:
        """Every scope that any rule asks for. Those above them in the hierarchy aren't among them: ask for little."""
        return frozenset().union(*(rule.scopes for rule in self.rules()))

    def grantable(self) -> frozenset[str]:
        """Every scope that opens something here: what rules ask for, and what the hierarchy puts above it."""
        return self.scopes() | self.hierarchy.keys()

    def is_empty(self) -> bool:
        return not (self.tools or self.resources or self.prompts)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_variables(self) -> None:
        variables = {template.text: template.variables for template in self._templates}
        for uri, rule in self.resources.items():
            if unknown := rule.arguments.keys() - variables.get(uri, frozenset()):
                raise UsageError(
                    f"The rule for {uri!r} has conditions on what is no variable of it: {', '.join(sorted(unknown))}.",
                    "The arguments of a resource are the variables of its URI template.",
                )

    def _check_completions(self) -> None:
        for name in self.completions:
            if name not in self.prompts and name not in self.resources:
                raise UsageError(
                    f"The policy has a rule for completing {name!r}, but none for the thing itself.",
                    "Name the prompt or resource too, as it is spelled there.",
                )


def _checked_rules(kind: str, rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
    hint = 'Write {"get_weather": needs("weather:read")}.'
    check_mapping(rules, Rule, f"The policy's {kind} must be rules by name.", hint)
    # A copy: a policy that changes after it was checked would not be the one that was checked.
    return MappingProxyType(dict(rules))


def _checked_hierarchy(hierarchy: Mapping[str, AbstractSet[str]]) -> Mapping[str, frozenset[str]]:
    hint = 'Write {"admin:all": {"users:read"}}.'
    check_mapping(hierarchy, AbstractSet, "The hierarchy must be sets of scopes by scope.", hint)
    checked = {above: frozenset(below) for above, below in hierarchy.items()}
    for above, below in checked.items():
        check_scopes(below | {above})
    return MappingProxyType(checked)


def _closure(hierarchy: Mapping[str, AbstractSet[str]]) -> Mapping[str, frozenset[str]]:
    """Every scope that each includes, however far down. Raises `UsageError` for a circle."""
    closure: dict[str, frozenset[str]] = {}
    try:
        for above in graphlib.TopologicalSorter(hierarchy).static_order():
            below = frozenset(hierarchy.get(above, ()))
            closure[above] = below.union(*(closure[each] for each in below))
    except graphlib.CycleError as error:
        raise UsageError(
            f"The hierarchy of scopes goes round in a circle: {' > '.join(reversed(error.args[1]))}.",
            "A scope can't include one that includes it.",
        ) from error
    return closure
