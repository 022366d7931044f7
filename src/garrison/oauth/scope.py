"""RFC 6749 §3.3: scope, a space-separated list of tokens where order means nothing."""

import re
from collections.abc import Iterable

from garrison.oauth.errors import InvalidScope

_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")
MAX_TOKENS = 64


def parse(value: str | None) -> frozenset[str]:
    """The tokens of `value`; none for None or an empty string.

    Raises:
        InvalidScope: a token has a character that §3.3 does not allow, or there are more than 64.
    """
    tokens = frozenset((value or "").split(" ")) - {""}
    if len(tokens) > MAX_TOKENS or not all(map(_TOKEN.fullmatch, tokens)):
        raise InvalidScope("scope must be at most 64 tokens of printable ASCII without quotes and backslashes")
    return tokens


def render(scopes: Iterable[str]) -> str:
    """The tokens in one string, sorted so that equal scopes look equal."""
    return " ".join(sorted(scopes))


def covers(granted: Iterable[str], needed: Iterable[str]) -> bool:
    return frozenset(needed) <= frozenset(granted)
