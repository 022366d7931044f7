"""Who may do what: rules by tool, resource, URI template and prompt. What isn't named is denied.

    Policy(
        tools={"transfer": needs("pay", clients={"desk"}, arguments={"amount": at_most(100)}, when=office_hours)},
        resources={"health://status": needs(), "users://{id}/profile": needs("users:read")},
        hierarchy={"admin:all": {"users:read", "pay"}},
    )

A rule holds when all of it holds. An exact URI beats templates; of templates that stand for the same URI, all rules must
hold.
"""

import graphlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from garrison.base.errors import UsageError
from garrison.guard.conditions import Bounds, Condition, OneOf
from garrison.guard.uri_template import UriTemplate, folded, is_plain, is_template
from garrison.oauth import scope
from garrison.oauth.errors import InvalidScope

REMEMBERED_SCOPES = 1024
"""Sets of scopes whose place in the hierarchy is remembered; callers' tokens have few different ones."""


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What a rule's `when` may look at. It is a copy: nothing that is changed in it goes anywhere.

    Attributes:
        subject, client_id, issuer: who calls; a subject is unique only within its issuer (RFC 9068 §5).
        scopes: the token's, and what the hierarchy adds to them.
        method: MCP's, such as `tools/call`.
        name: the tool or prompt, or the resource's URI.
        arguments: the call's; for a URI that a template stands for, the template's variables, decoded.
        claims: the access token's, verified.
    """

    subject: str
    client_id: str
    issuer: str
    scopes: frozenset[str]
    method: str
    name: str
    arguments: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)


When = Callable[[PolicyContext], bool]


@dataclass(frozen=True)
class Rule:
    """What a caller needs; an empty one asks for no more than a valid token.

    Args:
        scopes: all of these, or others that the hierarchy puts above them.
        issuers, subjects, clients: `iss`, `sub` and `client_id` of the token must be among these, where they are given.
        arguments: conditions by argument name; one that isn't there fails its condition.
        when: any further condition: a plain function, quick, called in the event loop for callers whom all else
            allows. Anything that it returns but True denies, and so does an exception.

    Raises:
        UsageError: one of these is of another type, or empty where that would shut everybody out.
    """

    scopes: frozenset[str] = frozenset()
    issuers: frozenset[str] | None = None
    subjects: frozenset[str] | None = None
    clients: frozenset[str] | None = None
    arguments: Mapping[str, Condition] = field(default_factory=dict, hash=False)
    when: When | None = None

    def __post_init__(self) -> None:
        _check_scopes(self.scopes)
        for name in ("issuers", "subjects", "clients"):
            _check_names(name, getattr(self, name))
        _check_mapping(
            self.arguments,
            OneOf | Bounds,
            "A rule's arguments must be conditions by name.",
            "Use one_of, at_most, at_least, between.",
        )
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))
        _check_when(self.when)

    @property
    def when_name(self) -> str:
        return str(getattr(self.when, "__name__", type(self.when).__name__))


def needs(
    *scopes: str,
    issuers: Iterable[str] | None = None,
    subjects: Iterable[str] | None = None,
    clients: Iterable[str] | None = None,
    arguments: Mapping[str, Condition | Set[str]] | None = None,
    when: When | None = None,
) -> Rule:
    """A rule that asks for all of `scopes`, and for what else is given; without any, for a valid token.

    Raises:
        UsageError: see `Rule`.
    """
    return Rule(
        frozenset(scopes),
        issuers=_frozen(issuers),
        subjects=_frozen(subjects),
        clients=_frozen(clients),
        arguments={
            name: OneOf(frozenset(each)) if isinstance(each, Set) else each for name, each in (arguments or {}).items()
        },
        when=when,
    )


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
        UsageError: a rule is none, a template can't be matched without doubt, a completion belongs to nothing, or the
            hierarchy goes round in a circle.
    """

    tools: Mapping[str, Rule] = field(default_factory=dict)
    resources: Mapping[str, Rule] = field(default_factory=dict)
    prompts: Mapping[str, Rule] = field(default_factory=dict)
    completions: Mapping[str, Rule] = field(default_factory=dict)
    hierarchy: Mapping[str, Set[str]] = field(default_factory=dict)
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

    def _check_completions(self) -> None:
        for name in self.completions:
            if name not in self.prompts and name not in self.resources:
                raise UsageError(
                    f"The policy has a rule for completing {name!r}, but none for the thing itself.",
                    "Name the prompt or resource too, as it is spelled there.",
                )


def _frozen(names: Iterable[str] | None) -> frozenset[str] | None:
    if isinstance(names, str):
        raise UsageError("A rule's names must be several, not one text.", 'Write {"alice"}.')
    return None if names is None else frozenset(names)


def _check_scopes(scopes: object) -> None:
    if not isinstance(scopes, frozenset):
        raise UsageError("A rule's scopes must be a frozenset.", 'Write Rule(frozenset({"customer:read"})).')
    try:
        travels = scope.parse(scope.render(scopes)) == scopes
    except (InvalidScope, TypeError):
        travels = False
    if not travels:
        raise UsageError(
            f"A rule's scopes can't be written in a scope parameter: {', '.join(map(repr, scopes))}",
            "A scope is printable ASCII without spaces, quotes and backslashes (RFC 6749, section 3.3).",
        )


def _check_names(kind: str, names: object) -> None:
    if names is None:
        return
    if not isinstance(names, frozenset) or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f"A rule's {kind} must be a frozenset of texts.")
    if not names:
        raise UsageError(f"A rule's {kind} are empty, so that nobody could meet it.", f"Leave {kind} out, or name one.")
    if any("*" in name for name in names):
        raise UsageError(f"A rule's {kind} must be exact: there are no wildcards.")


def _check_when(when: object) -> None:
    if when is not None and (not callable(when) or inspect.iscoroutinefunction(when)):
        raise UsageError("A rule's `when` must be a plain function, not an async one.")


def _check_mapping(given: object, kind: Any, wrong: str, hint: str) -> None:
    """A mapping from names to values of `kind`. Raises `UsageError`."""
    if not isinstance(given, Mapping) or not all(
        isinstance(name, str) and name and isinstance(value, kind) for name, value in given.items()
    ):
        raise UsageError(wrong, hint)


def _checked_rules(kind: str, rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
    hint = 'Write {"get_weather": needs("weather:read")}.'
    _check_mapping(rules, Rule, f"The policy's {kind} must be rules by name.", hint)
    # A copy: a policy that changes after it was checked would not be the one that was checked.
    return MappingProxyType(dict(rules))


def _checked_hierarchy(hierarchy: Mapping[str, Set[str]]) -> Mapping[str, frozenset[str]]:
    hint = 'Write {"admin:all": {"users:read"}}.'
    _check_mapping(hierarchy, Set, "The hierarchy must be sets of scopes by scope.", hint)
    checked = {above: frozenset(below) for above, below in hierarchy.items()}
    for above, below in checked.items():
        _check_scopes(below | {above})
    return MappingProxyType(checked)


def _closure(hierarchy: Mapping[str, Set[str]]) -> Mapping[str, frozenset[str]]:
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
