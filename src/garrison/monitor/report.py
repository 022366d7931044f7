"""What the resource `security://events` tells."""

from typing import Any

from garrison.base.events import Severity
from garrison.monitor.render import as_dict
from garrison.monitor.store import EventStore


async def summary(store: EventStore, limit: int = 20) -> dict[str, Any]:
    """How many events there are, and the last `limit` of them, newest last.

    Raises:
        EventStoreError: the store can't be read.
    """
    counts = await store.counts()
    return {
        "total_events": sum(counts.values()),
        "recent_events": [as_dict(event) for event in await store.recent(limit)],
        "summary": {
            "errors": counts[Severity.ERROR],
            "warnings": counts[Severity.WARNING],
            "info": counts[Severity.INFO],
        },
        "monitoring_status": "active" if store.healthy else "degraded",
    }
