"""When a signing key is published, signs, and goes: published before its first use, kept until its last token's end.

Every replica reads the same keys and comes to the same answers, by the time alone; no second command completes a
rotation. The newest key whose time has come signs. Times are seconds since the epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from garrison.authserver.settings import MAX_ACCESS_TOKEN_LIFETIME
from garrison.oauth.jwks import SigningKey

RELOAD = 30
"""Seconds after which a running server has seen a change of the keys, at the latest."""
JWKS_MAX_AGE = 300
"""Seconds for which the published set may be kept by whoever fetched it (Cache-Control)."""
LEAD = 900
"""Seconds from a key's publication to its first use: a reload, two caches of `JWKS_MAX_AGE` in a row, and clocks that
differ."""
KEPT = MAX_ACCESS_TOKEN_LIFETIME + 300
"""Seconds that a key stays published after its last use: the longest life of a token, and clocks that differ."""


@dataclass(frozen=True)
class ScheduledKey:
    key: SigningKey
    signs_from: float


def signing(keys: Sequence[ScheduledKey], now: float) -> SigningKey:
    """The key that signs now. A clock before all of them gets the oldest.

    Raises:
        ValueError: there is no key.
    """
    begun = [each for each in keys if each.signs_from <= now]
    return (max(begun, key=_order) if begun else min(keys, key=_order)).key


def published(keys: Sequence[ScheduledKey], now: float) -> list[SigningKey]:
    """The keys that the world is told: what may come, newest first, what signs, and what may have a living token."""
    return [each.key for each in sorted(keys, key=_order, reverse=True) if now < gone_at(keys, each)]


def gone_at(keys: Sequence[ScheduledKey], key: ScheduledKey) -> float:
    """When no token of `key` can be alive any more; infinity while nothing is to follow it."""
    ends = [each.signs_from for each in keys if _order(each) > _order(key)]
    return min(ends) + KEPT if ends else float("inf")


def state(keys: Sequence[ScheduledKey], key: ScheduledKey, now: float) -> str:
    """`published` before it signs, then `signing`, then `retiring`, at last `gone`."""
    if key.key.kid == signing(keys, now).kid:
        return "signing"
    if now >= gone_at(keys, key):
        return "gone"
    return "published" if key.signs_from > now else "retiring"


def _order(key: ScheduledKey) -> tuple[float, str]:
    return key.signs_from, key.key.kid
