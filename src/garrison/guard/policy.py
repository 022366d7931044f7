"""Who may do what: scopes by tool, resource and prompt. What isn't named is denied."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from garrison.base.errors import UsageError
from garrison.oauth import scope
from garrison.oauth.errors import InvalidScope


@dataclass(frozen=True)
class Rule:
    """What a caller needs: all of `scopes`; an empty set asks for no more than a valid token."""

    scopes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not isinstance(self.scopes, frozenset):
            raise UsageError("A rule's scopes must be a frozenset.", 'Write Rule(frozenset({"customer:read"})).')
        if not _can_travel(self.scopes):
            raise UsageError(
                f"A rule's scopes can't be written in a scope parameter: {', '.join(map(repr, self.scopes))}",
                "A scope is printable ASCII without spaces, quotes and backslashes (RFC 6749, section 3.3).",
            )


def needs(*scopes: str) -> Rule:
    """A rule that asks for all of `scopes`; without any, for a valid token."""
    return Rule(frozenset(scopes))


@dataclass(frozen=True)
class Policy:
    """The whole policy: rules by tool name, by resource URI, by prompt name, each compared exactly."""

    tools: Mapping[str, Rule] = field(default_factory=dict)
    resources: Mapping[str, Rule] = field(default_factory=dict)
    prompts: Mapping[str, Rule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("tools", "resources", "prompts"):
            # A copy: a policy that changes after it was checked would not be the one that was checked.
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def scopes(self) -> frozenset[str]:
        """Every scope that any rule asks for."""
        rules = (*self.tools.values(), *self.resources.values(), *self.prompts.values())
        return frozenset().union(*(rule.scopes for rule in rules))

    def is_empty(self) -> bool:
        return not (self.tools or self.resources or self.prompts)


def _can_travel(scopes: frozenset[str]) -> bool:
    try:
        return scope.parse(scope.render(scopes)) == scopes
    except (InvalidScope, TypeError):
        return False
