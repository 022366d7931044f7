"""What a budget is, what a call draws on, and the verdict on it: the same words for memory and for Redis."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf
from typing import Literal, NamedTuple, TypeAlias

from garrison.limits.windows import RequestWindow, TokenWindow, whole_seconds

BudgetName: TypeAlias = Literal["requests", "tokens", "tool", "client", "address", "documents", "refused"]


@dataclass(frozen=True, slots=True, eq=False)
class Budget:
    """So much in so many seconds, for each who has one.

    Attributes:
        name: for answers.
        limit: requests, or AI tokens.
        seconds: length of the window.
        counted: whether a sliding window counter approximates it, as tokens come by the thousand; else each request is
            remembered, and no window of that length ever holds more than `limit`.
        of: what tells it from others of its name: the tool.
    """

    name: BudgetName
    limit: int
    seconds: int
    counted: bool = False
    of: str = ""


Charge: TypeAlias = tuple[Budget, str, int]
"""A budget, whose it is, and what is to be taken of it; 1 of a budget of requests."""


class Admission(NamedTuple):
    """Whether a call may go on, and the budget that decided it; the first that it draws on for an admitted call.

    Attributes:
        limit: of that budget.
        remaining: what is left of it; calls in flight at the same moment may have taken it already.
        reset_after: seconds until some of it comes back; for a refused call, until that call fits.
        retry_after: whole seconds after which the same call fits, if nobody spends more meanwhile; 0 when allowed.
        never: the call costs more than the whole budget; no wait helps, and `retry_after` is just the window's length.
        tokens_left: AI tokens that an admitted call leaves; 0 where none are counted.
    """

    allowed: bool
    budget: BudgetName
    limit: int
    remaining: int
    reset_after: float
    retry_after: int = 0
    never: bool = False
    tokens_left: int = 0


Taken: TypeAlias = tuple[int, float]
"""What is left of a budget after a charge, and the seconds until some of what was in it before comes back."""


def admission(charges: Sequence[Charge], taken: Sequence[Taken]) -> Admission:
    """The answer to a call that was charged."""
    first, (left, reset_after), tokens_left = charges[0][0], taken[0], 0
    for (budget, _, _), took in zip(charges, taken, strict=True):
        if budget.counted:
            tokens_left = took[0]
    return Admission(True, first.name, first.limit, left, reset_after, 0, False, tokens_left)


def refusal(charges: Sequence[Charge], windows: Sequence[RequestWindow | TokenWindow]) -> Admission:
    """The answer to a call that doesn't fit all of `windows`: by the one that it must wait for longest."""
    longest, worst = -1.0, 0
    for number, ((_, _, cost), window) in enumerate(zip(charges, windows, strict=True)):
        wait = window.wait(cost)
        if wait is not None and wait >= longest:
            longest, worst = wait, number
    budget, left = charges[worst][0], windows[worst].left
    if isinf(longest):
        length = budget.seconds
        return Admission(False, budget.name, budget.limit, left, float(length), retry_after=length, never=True)
    # A clock that went on between the decision and here may have made room: then the next try is the answer.
    wait = max(0.0, longest)
    return Admission(False, budget.name, budget.limit, left, wait, whole_seconds(wait))
