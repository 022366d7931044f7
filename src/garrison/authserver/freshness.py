"""RFC 9111 §4.2: how long an answer may be used again without asking, within bounds of our own."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

DEFAULT = 300.0
"""Seconds, where the server says nothing."""
LONGEST = 86_400.0


def seconds(headers: Mapping[str, str], now: float) -> float:
    """Seconds from `now` on; `headers` by lower-case name. Whatever can't be understood is not fresh at all."""
    directives = _directives(headers.get("cache-control", ""))
    if {"no-store", "no-cache"} & directives.keys():
        return 0.0
    lifetime = DEFAULT
    if "max-age" in directives:
        lifetime = _number(directives["max-age"])
    elif "expires" in headers:
        lifetime = _until(headers["expires"], now)
    return min(LONGEST, max(0.0, lifetime - _number(headers.get("age", "0"))))


def _directives(header: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in header.lower().split(","))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def _number(text: str) -> float:
    text = text.strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0.0  # noqa: PLR2004 - digits


def _until(date: str, now: float) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
