"""What an argument of a call may be: two small conditions that mean the same in Python and in garrison.toml.

An argument that isn't there satisfies neither: the app may have a default for it that nobody here has judged.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from garrison.base.errors import UsageError

Scalar = str | int | bool


@dataclass(frozen=True)
class OneOf:
    """The argument is one of `values`: texts, whole numbers or booleans, each compared with its JSON type.

    Raises:
        UsageError: there are none, or one is something else.
    """

    values: frozenset[Scalar] = field(compare=False)
    _typed: frozenset[tuple[type, Scalar]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_values(self.values)
        # To Python, True is 1; to JSON and to the app it isn't.
        object.__setattr__(self, "_typed", frozenset((type(value), value) for value in self.values))

    def holds(self, value: Any) -> bool:
        return type(value) in {str, int, bool} and (type(value), value) in self._typed

    @property
    def takes_text(self) -> bool:
        return any(isinstance(value, str) for value in self.values)

    def __str__(self) -> str:
        return "one of " + ", ".join(sorted(map(str, self.values)))


@dataclass(frozen=True)
class Bounds:
    """The argument is a number within these bounds, both included; None for no bound.

    A text that looks like a number is none, so no argument of a prompt is within bounds.

    Raises:
        UsageError: there is no bound, or no number within.
    """

    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        given = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if not given or not all(_is_number(bound) and -math.inf < bound < math.inf for bound in given):
            raise UsageError("An argument's bounds are finite numbers: at_least, at_most, or both.")
        if given[0] > given[-1]:
            raise UsageError("No number is within an argument's bounds.", "at_least must not be above at_most.")

    def holds(self, value: Any) -> bool:
        return (
            _is_number(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
        )

    @property
    def takes_text(self) -> bool:
        return False

    def __str__(self) -> str:
        named = (("at least", self.at_least), ("at most", self.at_most))
        return ", ".join(f"{name} {bound}" for name, bound in named if bound is not None)


Condition = OneOf | Bounds


def one_of(*values: Scalar) -> OneOf:
    """The argument is one of `values`. Raises `UsageError`."""
    _check_types(values)
    if len(frozenset(values)) != len(values):
        raise UsageError("An argument's values repeat one.", "1 and true can't stand in one list either.")
    return OneOf(frozenset(values))


def at_most(number: float) -> Bounds:
    return Bounds(at_most=number)


def at_least(number: float) -> Bounds:
    return Bounds(at_least=number)


def between(least: float, most: float) -> Bounds:
    return Bounds(least, most)


def failing(conditions: Mapping[str, Condition], arguments: Mapping[str, Any]) -> Iterable[str]:
    """The names of those arguments whose condition doesn't hold."""
    return (name for name, each in conditions.items() if name not in arguments or not each.holds(arguments[name]))


def _check_values(values: object) -> None:
    if not isinstance(values, frozenset) or not values:
        raise UsageError("An argument's values must be a frozenset that isn't empty.", 'Write one_of("eu", "us").')
    _check_types(values)


def _check_types(values: Iterable[object]) -> None:
    if not all(type(value) in {str, int, bool} for value in values):
        raise UsageError("An argument's values can be texts, whole numbers and booleans only.")


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}
