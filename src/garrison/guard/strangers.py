"""Those who failed to say who they are: so many a minute from each address, and then no more events of theirs.

An address is charged after a request of its failed, never before: whoever bears a good token is served, however many
strangers share the address. Over its budget it is told to wait for a minute; what it sends in that time is answered
without being recorded, so that a flood can't fill the disk, and then the number of these answers is. A flood from many
addresses is bounded too: beyond `RECORDED_AT_MOST` failures a minute, all addresses together, only their number is.
"""

import asyncio
import logging
from dataclasses import dataclass

from garrison.base.clock import Clock
from garrison.base.errors import EventStoreError
from garrison.base.events import Event, EventSink, Kind, emit, new_correlation_id
from garrison.base.peers import stranger_unit
from garrison.guard.refusal import RateLimited
from garrison.guard.types import Request
from garrison.limits.limiter import MINUTE, Limiter
from garrison.limits.windows import whole_seconds

RECORDED_AT_MOST = 2000
EVERYBODY = "*"
WAKE_AFTER = MINUTE + 1.0
"""Seconds after which the count of an address that never came back is recorded."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Away:
    until: float
    unrecorded: int = 0


class Strangers:
    """Args: clock: seconds since the epoch."""

    def __init__(self, limiter: Limiter, events: EventSink, clock: Clock) -> None:
        self._limiter = limiter
        self._events = events
        self._clock = clock
        # In the order of their ends, as all are away for the same time. One entry takes a whole budget of requests.
        self._away: dict[tuple[bool, str], _Away] = {}
        self._minute_began, self._recorded = 0.0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._reporting: asyncio.Task[None] | None = None

    async def check(self, request: Request, *, documents: bool = False) -> None:
        """Charge the address of `request`; the public `documents` have a budget of their own.

        Raises:
            RateLimited: it is over its budget; `recorded` for the first time only.
            EventStoreError: the limits' store is out of reach, and that can't be recorded.
        """
        await self.report_returned()
        unit = stranger_unit(request.address)
        away = self._away.get((documents, unit))
        if away is None:
            if (await self._limiter.admit_stranger(unit, documents=documents)).allowed:
                return
            away = self._away[documents, unit] = _Away(self._clock() + MINUTE)
            self._wake_later()
            raise self._refusal(away, recorded=True)
        away.unrecorded += 1
        raise self._refusal(away, recorded=False)

    def may_record(self) -> bool:
        """Whether one more failure is recorded by itself; if not, it is counted."""
        now = self._clock()
        if not self._minute_began <= now < self._minute_began + MINUTE:
            self._minute_began, self._recorded = now, 0
        self._recorded += 1
        if self._recorded <= RECORDED_AT_MOST:
            return True
        self._away.setdefault((False, EVERYBODY), _Away(now + MINUTE)).unrecorded += 1
        self._wake_later()
        return False

    async def report_returned(self) -> None:
        """One event for each address whose minute is over, and that had something left unrecorded."""
        now = self._clock()
        while self._away:
            key, away = next(iter(self._away.items()))
            if away.until - MINUTE <= now < away.until:
                return
            del self._away[key]
            if away.unrecorded:
                await self._report(key[1], away.unrecorded)

    def _refusal(self, away: _Away, *, recorded: bool) -> RateLimited:
        wait = whole_seconds(away.until - self._clock())
        limit = self._limiter.strangers.limit
        return RateLimited(
            f"Too many requests from this address; try again in {wait} s.",
            reason=f"an address is over its budget; for {MINUTE} s its failures are counted, not recorded",
            headers={
                "retry-after": str(wait),
                "ratelimit-policy": f'"address";q={limit};w={MINUTE}',
                "ratelimit": f'"address";r=0;t={wait}',
            },
            data={"budget": "address", "limit": limit, "retryAfter": wait},
            recorded=recorded,
        )

    async def _report(self, unit: str, unrecorded: int) -> None:
        event = Event(
            kind=Kind.RATE_LIMITED,
            correlation_id=new_correlation_id(),
            address="" if unit == EVERYBODY else unit,
            reason=f"too many failures; {unrecorded} more were refused that are not recorded one by one",
            detail={"unrecorded": unrecorded},
        )
        try:
            await emit(self._events, event, self._clock)
        except EventStoreError:
            _log.exception("event lost: %d requests of %s were refused", unrecorded, unit)

    def _wake_later(self) -> None:
        """For an address that never comes back."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAKE_AFTER, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._reporting = asyncio.ensure_future(self.report_returned())
        if self._away:
            self._wake_later()
