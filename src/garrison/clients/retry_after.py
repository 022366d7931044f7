"""RFC 9110 §10.2.3 and RFC 6585 §4: how long to wait after a 429 or 503, from Retry-After as seconds or as a date."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import random as system_random

import anyio

from garrison.base.clock import Clock, system_clock
from garrison.clients.errors import RateLimited

_FIRST_BACKOFF = 1.0
_MAX_BACKOFF = 8.0


@dataclass(frozen=True)
class Patience:
    """How long to put up with a server.

    Attributes:
        attempts: how often to wait where it limits the rate of requests.
        total: seconds to wait in all; a server that asks for more gets its answer at once: no.
        jitter: the largest part of a wait that is added to it at random, so that clients don't come back in step.
        answer: seconds for an answer of the MCP server, to its last byte; a server that goes on talking has no more.
        document: seconds for an answer of the authorization server, and for each document of metadata.
    """

    attempts: int = 4
    total: float = 60.0
    jitter: float = 0.1
    answer: float = 300.0
    document: float = 10.0


@dataclass(frozen=True)
class Timing:
    """The clock and what tests put in its place, and how patient to be."""

    clock: Clock = system_clock
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    random: Callable[[], float] = system_random
    patience: Patience = field(default_factory=Patience)


class Waits:
    """The pauses of one request: bounded in number and in all."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._count = 0
        self._waited = 0.0

    async def wait(self, asked: str | None) -> None:
        """Wait as long as `asked`, the Retry-After header, says. Raises `RateLimited` where that is too much."""
        timing, patience = self._timing, self._timing.patience
        seconds = pause(asked, self._count, timing.clock(), timing.random, patience.jitter)
        if self._count >= patience.attempts or self._waited + seconds > patience.total:
            raise RateLimited(seconds)
        self._count += 1
        self._waited += seconds
        await timing.sleep(seconds)


def parse(value: str | None, now: float) -> float | None:
    """Seconds from `now` (since the epoch) that `value` asks for; None if it asks for nothing that can be read."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


def pause(value: str | None, attempt: int, now: float, random: Callable[[], float], jitter: float) -> float:
    """Seconds to wait before attempt number `attempt` + 1 (from 0): as asked, or doubling from one second."""
    asked = parse(value, now)
    wait = min(_FIRST_BACKOFF * 2**attempt, _MAX_BACKOFF) if asked is None else asked
    return wait + wait * jitter * random()
