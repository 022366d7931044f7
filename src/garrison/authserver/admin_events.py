"""What the operator's verbs say in the events before they do it."""

from garrison.base.clock import Clock
from garrison.base.events import Event, EventSink, Kind, NullSink, Scalar, emit, new_correlation_id

NOBODY = NullSink()
ABLE = {True: "disabled", False: "enabled"}


async def tell(
    events: EventSink,
    clock: Clock,
    kind: Kind,
    target: str,
    *,
    client_id: str = "",
    subject: str = "",
    reason: str = "",
    **detail: Scalar,
) -> None:
    """Raises `EventStoreError`: it can't be recorded, and must not be done."""
    event = Event(
        kind=kind,
        correlation_id=new_correlation_id(),
        target=target,
        client_id=client_id,
        subject=subject,
        reason=reason,
        detail=detail,
    )
    await emit(events, event, clock)
