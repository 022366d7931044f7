"""An event as people and programs read it: one line, whatever it holds.

Events are cleaned when they are emitted; here once more, since a file can be written by others. JSON is pure ASCII; the
human line quotes what could be mistaken for another field.
"""

import json
from datetime import UTC, datetime
from typing import Any

from garrison.base.events import Event, Scalar, one_line

_WIDEST_SEVERITY = 7


def as_dict(event: Event) -> dict[str, Any]:
    """Every attribute under its own name, the time as RFC 3339 in UTC."""
    return {
        "id": event.id,
        "time": rfc3339(event.time),
        "kind": event.kind.value,
        "severity": event.severity.value,
        "correlation_id": event.correlation_id,
        "subject": event.subject,
        "client_id": event.client_id,
        "address": event.address,
        "target": event.target,
        "reason": event.reason,
        "detail": dict(event.detail),
    }


def as_json_line(event: Event) -> str:
    """JSON on one line, without the line's end."""
    return json.dumps(as_dict(event), ensure_ascii=True)


def as_human_line(event: Event) -> str:
    """`2026-11-21T10:00:00.000Z WARNING call.denied subject=… target=… reason=… request=…`, without empty fields."""
    fields: dict[str, Scalar] = {
        "subject": event.subject,
        "client": event.client_id,
        "address": event.address,
        "target": event.target,
        "reason": event.reason,
        **event.detail,
        "request": event.correlation_id,
    }
    words = [f"{_key(key)}={_value(value)}" for key, value in fields.items() if value not in ("", None)]
    return " ".join(
        [rfc3339(event.time), event.severity.value.upper().ljust(_WIDEST_SEVERITY), event.kind.value, *words]
    )


def rfc3339(time: float) -> str:
    """Seconds since the epoch as UTC with milliseconds; an unreasonable time as the number it is."""
    try:
        return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(time)


def _value(value: Scalar) -> str:
    text = one_line(str(value))
    plain = text and not any(character.isspace() or character in "\"'=\\" for character in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def _key(key: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in one_line(key))
