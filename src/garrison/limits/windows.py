"""What a budget's window holds, and when the next call fits: the arithmetic of the `limits` library's strategies.

The library itself says when a window resets, which is not when a call of a given cost succeeds; Retry-After must be.
"""

from math import floor, inf

import msgspec

_RESOLUTION = 0.002
"""Seconds: by how much two clocks that are one may differ after rounding."""


def whole_seconds(wait: float) -> int:
    """The first whole second after `wait`: at `wait` itself the window still refuses."""
    return max(1, floor(wait + _RESOLUTION) + 1)


def rest_of_window(now: float, length: int) -> float:
    """Seconds until the fixed window that `now` is in ends; all of them begin at multiples of `length`."""
    return (1 - ((now - length) / length) % 1) * length


def left_of(limit: int, length: int, previous: int, current: int, ends_in: float) -> int:
    """What a sliding window counter leaves (`TokenWindow` has the words); 0 at the least."""
    return max(0, limit - floor(previous * ends_in / length) - current)


class RequestWindow(msgspec.Struct):
    """An exact moving window.

    Attributes:
        limit: requests in `length` seconds.
        used: requests in the window now.
        oldest_leaves_in: seconds until the oldest of them leaves it; `length` when there is none.
    """

    limit: int
    used: int
    oldest_leaves_in: float

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def reset_after(self) -> float:
        return self.oldest_leaves_in

    def wait(self, _cost: int = 1) -> float | None:
        """Seconds until one more request fits; None when it fits now."""
        return None if self.left else self.oldest_leaves_in


class TokenWindow(msgspec.Struct):
    """A sliding window counter: the current fixed window, and the previous one weighted by how much of it still counts.

    Attributes:
        limit: tokens in `length` seconds.
        length: of a fixed window, seconds.
        previous, current: tokens spent in each.
        ends_in: seconds until the current window becomes the previous one, whose weight is 0 by then.
    """

    limit: int
    length: int
    previous: int
    current: int
    ends_in: float

    @property
    def left(self) -> int:
        return left_of(self.limit, self.length, self.previous, self.current, self.ends_in)

    @property
    def reset_after(self) -> float:
        return self.ends_in

    def wait(self, cost: int) -> float | None:
        """Seconds until `cost` fits, inf if it never will, None when it fits now.

        A call is admitted when floor(weighted previous) + current + cost <= limit.
        """
        if cost > self.limit:
            return inf
        if cost <= self.left:
            return None
        room = self.limit - cost + 1  # what is counted must fall below this
        if self.current < room:
            return self.ends_in - (room - self.current) * self.length / self.previous
        return self.ends_in + self.length - room * self.length / self.current
