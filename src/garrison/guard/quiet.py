"""Events that are counted instead of recorded one by one, so that a flood can't fill the disk.

Who was refused for a budget is not recorded again for a minute; then the number of those refusals is. Beyond
`RECORDED_AT_MOST` failures of strangers a minute, all addresses together, only their number is. Memory is bounded too:
of more than `REMEMBERED_AT_MOST` at a time nothing is remembered, and each refusal of theirs counts among those.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from garrison.base.clock import Clock
from garrison.base.errors import EventStoreError
from garrison.base.events import Event, EventSink, Kind, emit, new_correlation_id

MINUTE = 60
RECORDED_AT_MOST = 2000
REMEMBERED_AT_MOST = 10_000
"""Of addresses at the server, at its public documents, and callers each; 3 MB of addresses."""
WAKE_AFTER = MINUTE + 1.0
"""Seconds after which the count of one who never came back is recorded."""
_EVERYBODY = "everybody", ""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Silence:
    """A minute in which refusals are counted.

    Attributes:
        until: seconds since the epoch.
        remembered: whether it is; if not, the next refusal begins another.
        unrecorded, wasted: refusals since it began, and bytes that were read for nothing.
    """

    until: float
    remembered: bool
    subject: str = ""
    client_id: str = ""
    address: str = ""
    unrecorded: int = 0
    wasted: int = 0


class Quiet:
    """Args: clock: seconds since the epoch."""

    def __init__(self, events: EventSink, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        # In the order of their ends, as all last as long. Each took a whole budget of requests to begin, or one request
        # where newcomers share a budget (limits/memory.py).
        self._silences: dict[tuple[str, str], Silence] = {}
        self._remembered: Counter[str] = Counter()
        self._minute_began, self._recorded = 0.0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._reporting: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._silences)

    def of(self, kind: str, who: str) -> Silence | None:
        return self._silences.get((kind, who))

    def begin(self, kind: str, who: str, *, subject: str = "", client_id: str = "", address: str = "") -> Silence:
        remembered = self._remembered[kind] < REMEMBERED_AT_MOST
        silence = Silence(self._clock() + MINUTE, remembered, subject, client_id, address)
        if not remembered:
            return silence
        self._silences[kind, who] = silence
        self._remembered[kind] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAKE_AFTER, self._wake)
        return silence

    def may_record(self) -> bool:
        """Whether one more failure of one who isn't remembered is recorded by itself; if not, it is counted."""
        now = self._clock()
        if not self._minute_began <= now < self._minute_began + MINUTE:
            self._minute_began, self._recorded = now, 0
        self._recorded += 1
        if self._recorded <= RECORDED_AT_MOST:
            return True
        silence = self.of(*_EVERYBODY) or self.begin(*_EVERYBODY)
        silence.unrecorded += 1
        return False

    async def report_ended(self) -> None:
        """One event for each silence whose minute is over, and that left something unrecorded."""
        now = self._clock()
        while self._silences:
            key, silence = next(iter(self._silences.items()))
            if silence.until - MINUTE <= now < silence.until:
                return
            del self._silences[key]
            self._remembered[key[0]] -= 1
            if silence.unrecorded:
                await self._report(silence)

    async def _report(self, silence: Silence) -> None:
        event = Event(
            kind=Kind.RATE_LIMITED,
            correlation_id=new_correlation_id(),
            subject=silence.subject,
            client_id=silence.client_id,
            address=silence.address,
            reason=f"{silence.unrecorded} more requests were refused in the last minute",
            detail={"unrecorded": silence.unrecorded},
        )
        try:
            await emit(self._events, event, self._clock)
        except EventStoreError:
            _log.exception("event lost: %d requests of %s were refused", silence.unrecorded, silence.address or "many")

    def _wake(self) -> None:
        self._timer = None
        self._reporting = asyncio.ensure_future(self.report_ended())
        if self._silences:
            self._timer = asyncio.get_running_loop().call_later(WAKE_AFTER, self._wake)
