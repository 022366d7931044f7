"""One rule of a policy: what a caller needs for one thing."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from garrison.base.errors import UsageError
from garrison.guard.conditions import Bounds, Condition, OneOf, Scalar
from garrison.oauth import scope
from garrison.oauth.errors import InvalidScope


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What a rule's `when` may look at. It is a copy: nothing that is changed in it goes anywhere.

    Attributes:
        subject, client_id, issuer: who calls; a subject is unique only within its issuer (RFC 9068 §5).
        scopes: the token's, and what the hierarchy adds to them.
        method: MCP's, such as `tools/call`.
        name: the tool or prompt, or the resource's URI.
        arguments: the call's, as they came: the tool's schema is held against them later. For a URI that a template
            stands for, the template's variables, decoded.
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
    judges_who: bool = field(init=False, repr=False, compare=False)
    judges_what: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_scopes(self.scopes)
        for name in ("issuers", "subjects", "clients"):
            _check_names(name, getattr(self, name))
        check_mapping(
            self.arguments,
            OneOf | Bounds,
            "A rule's arguments must be conditions by name.",
            "Use one_of, at_most, at_least, between.",
        )
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))
        _check_when(self.when)
        # Asked at every call: most rules are about scopes alone.
        among = (self.issuers, self.subjects, self.clients)
        object.__setattr__(self, "judges_who", any(names is not None for names in among))
        object.__setattr__(self, "judges_what", bool(self.arguments) or self.when is not None)

    @property
    def when_name(self) -> str:
        return str(getattr(self.when, "__name__", type(self.when).__name__))


def needs(
    *scopes: str,
    issuers: Iterable[str] | None = None,
    subjects: Iterable[str] | None = None,
    clients: Iterable[str] | None = None,
    arguments: Mapping[str, Condition | AbstractSet[Scalar]] | None = None,
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
        arguments={name: _condition(each) for name, each in (arguments or {}).items()},
        when=when,
    )


def _condition(given: Condition | AbstractSet[Scalar]) -> Condition:
    return OneOf(frozenset(given)) if isinstance(given, AbstractSet) else given


def _frozen(names: Iterable[str] | None) -> frozenset[str] | None:
    if isinstance(names, str):
        raise UsageError("A rule's names must be several, not one text.", 'Write {"alice"}.')
    return None if names is None else frozenset(names)


def check_scopes(scopes: object) -> None:
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


def check_mapping(given: object, kind: Any, wrong: str, hint: str) -> None:
    """A mapping from names to values of `kind`. Raises `UsageError`."""
    if not isinstance(given, Mapping) or not all(
        isinstance(name, str) and name and isinstance(value, kind) for name, value in given.items()
    ):
        raise UsageError(wrong, hint)
