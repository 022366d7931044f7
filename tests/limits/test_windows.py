"""The arithmetic of Retry-After, checked against the rule by which the library admits."""

from math import floor, inf

from hypothesis import given
from hypothesis import strategies as st

from garrison.limits.windows import RequestWindow, TokenWindow, whole_seconds

HOUR = 3600
COUNTS = st.integers(0, 100)


def admits(window: TokenWindow, cost: int, after: float) -> bool:
    """What the library would say `after` seconds later, if nobody spends meanwhile."""
    previous, current, ends_in = window.previous, window.current, window.ends_in - after
    if ends_in <= 0:
        previous, current, ends_in = current, 0, ends_in + window.length
    if ends_in <= 0:
        previous = 0
    return floor(previous * ends_in / window.length) + current + cost <= window.limit


@given(previous=COUNTS, current=COUNTS, ends_in=st.floats(0.001, HOUR), cost=st.integers(1, 120))
def test_the_wait_for_tokens_is_the_first_moment_at_which_the_cost_fits(
    previous: int, current: int, ends_in: float, cost: int
) -> None:
    window = TokenWindow(limit=100, length=HOUR, previous=previous, current=current, ends_in=ends_in)
    wait = window.wait(cost)
    if wait is None:
        assert admits(window, cost, 0)
    elif wait == inf:
        assert cost > window.limit
    else:
        assert not admits(window, cost, 0)
        assert not admits(window, cost, wait * 0.999)
        assert admits(window, cost, wait + 0.001)


def test_a_full_request_window_waits_for_its_oldest_request_to_leave() -> None:
    assert RequestWindow(limit=2, used=2, oldest_leaves_in=12.5).wait() == 12.5
    assert RequestWindow(limit=2, used=1, oldest_leaves_in=12.5).wait() is None


def test_whole_seconds_lie_after_the_wait_and_are_at_least_one() -> None:
    assert [whole_seconds(wait) for wait in (-1.0, 0.0, 0.5, 1.0, 59.9, 60.0)] == [1, 1, 1, 2, 60, 61]
