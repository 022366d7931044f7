"""Names that are unique, and no secret: 128 random bits in 32 hexadecimal digits."""

import os

_ID_BYTES, _DRAWN_AT_ONCE = 16, 64
_drawn: list[str] = []
"""Random ids that nobody has yet: the system is asked for many at once, as asking costs more than an id."""
os.register_at_fork(after_in_child=_drawn.clear)  # else it would give out its parent's


def random_id() -> str:
    try:
        return _drawn.pop()
    except IndexError:
        digits = os.urandom(_ID_BYTES * _DRAWN_AT_ONCE).hex()
        first, *others = (digits[at : at + 2 * _ID_BYTES] for at in range(0, len(digits), 2 * _ID_BYTES))
        _drawn.extend(others)
        return first
