"""Every decision is an event, durable before it takes effect: what can't be recorded is not done."""

import logging
from collections.abc import Awaitable, Mapping

from garrison.base.clock import Clock
from garrison.base.errors import EventStoreError
from garrison.base.events import Event, EventSink, Kind, Scalar, emit, emit_end
from garrison.guard.refusal import Refusal, Unavailable
from garrison.guard.types import Call

RETRY_AFTER = 5
"""Seconds after which the event store is worth another try."""

_log = logging.getLogger(__name__)


class Audit:
    def __init__(self, events: EventSink, clock: Clock) -> None:
        self._events = events
        self._clock = clock

    def allowed(self, call: Call) -> Awaitable[Event]:
        """What was recorded. Raises `Unavailable` when it can't be: then the call must not happen."""
        return self._record(call, Kind.CALL_ALLOWED, "", {})

    async def refused(self, call: Call, refusal: Refusal) -> None:
        """Raises `Unavailable` when it can't be recorded."""
        await self._record(call, refusal.kind, refusal.reason, {"status": refusal.status})

    def finished(self, allowed: Event, *, status: int, size: int, failure: str) -> None:
        """The call has happened, so nothing is left to refuse: a lost event goes to the log."""
        now = self._clock()
        detail = {"status": status, "bytes": size, "seconds": round(now - allowed.time, 6)}
        try:
            emit_end(self._events, allowed, Kind.CALL_FINISHED, failure, detail, now)
        except EventStoreError:
            _log.exception("event lost: call %s finished with status %d", allowed.correlation_id, status)

    async def _record(self, call: Call, kind: Kind, reason: str, detail: Mapping[str, Scalar]) -> Event:
        try:
            return await emit(self._events, self._event(call, kind, reason, detail), self._clock)
        except EventStoreError as error:
            raise Unavailable(
                "The call could not be recorded, so it was not made.", reason=str(error), retry_after=RETRY_AFTER
            ) from error

    def _event(self, call: Call, kind: Kind, reason: str, detail: Mapping[str, Scalar]) -> Event:
        token = call.caller.token if call.caller else None
        return Event(
            kind=kind,
            correlation_id=call.request.correlation_id,
            subject=token.subject if token else "",
            client_id=token.client_id if token else "",
            address=call.request.address,
            target=call.target,
            reason=reason,
            detail=detail,
            time=self._clock(),
        )
