"""Events for people and programs: one line each, whatever they hold."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.base.events import Event, Kind
from garrison.monitor.render import as_human_line, as_json_line, rfc3339
from garrison.monitor.report import summary
from garrison.monitor.store import EventStore

DENIED = Event(
    kind=Kind.CALL_DENIED,
    correlation_id="0123",
    subject="alice",
    target="tools/call pay",
    reason='missing scope "pay:write"',
    detail={"attempt": 2},
    time=1_800_000_000.5,
    id="e1",
)


def test_a_human_line_tells_when_what_who_and_why() -> None:
    assert as_human_line(DENIED) == (
        "2027-01-15T08:00:00.500Z WARNING call.denied subject=alice"
        ' target="tools/call pay" reason="missing scope \\"pay:write\\"" attempt=2 request=0123'
    )


def test_a_json_line_holds_every_attribute() -> None:
    assert json.loads(as_json_line(DENIED)) == {
        "id": "e1",
        "time": "2027-01-15T08:00:00.500Z",
        "kind": "call.denied",
        "severity": "warning",
        "correlation_id": "0123",
        "subject": "alice",
        "client_id": "",
        "address": "",
        "target": "tools/call pay",
        "reason": 'missing scope "pay:write"',
        "detail": {"attempt": 2},
    }


HOSTILE = st.text() | st.sampled_from(
    ["a\r\nb", "\x1b[31m", "\x9b2J", "\u202e", "\u2028", "x reason=ok", 'a" reason="ok', "\\", "\ud800", "\U000e0041"]
)


@given(HOSTILE, HOSTILE, st.dictionaries(HOSTILE, HOSTILE | st.integers() | st.booleans() | st.none(), max_size=3))
def test_whatever_an_event_holds_it_stays_one_printable_line(subject: str, target: str, detail: dict[str, Any]) -> None:
    event = Event(kind=Kind.CALL_ALLOWED, correlation_id="c", subject=subject, target=target, detail=detail, time=1.0)
    line = as_json_line(event)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["subject"] == subject
    human = as_human_line(event)
    assert len(human.splitlines()) == 1
    assert not {unicodedata.category(character) for character in human} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize("forged", ["bob reason=granted", 'bob" reason="granted', "bob\u00a0reason=granted", "bob\\"])
def test_a_value_cannot_pass_for_another_field(forged: str) -> None:
    line = as_human_line(Event(kind=Kind.CALL_DENIED, correlation_id="c", subject=forged, time=1.0))
    start = line.index("subject=") + len("subject=")
    value, end = json.JSONDecoder().raw_decode(line[start:])
    assert value == forged
    assert line[start + end :] == " request=c"


@pytest.mark.parametrize("time", [1e300, -1e18, float("inf"), float("nan")])
def test_an_unreasonable_time_is_shown_as_it_is(time: float) -> None:
    assert rfc3339(time) == str(time)


async def test_the_summary_has_the_shape_of_the_resource(store: EventStore) -> None:
    for kind in (Kind.CALL_ALLOWED, Kind.CALL_DENIED, Kind.TOKEN_REUSED):
        await store.write(Event(kind=kind, correlation_id="c", time=1.0))
    report = await summary(store, limit=2)
    assert [event["kind"] for event in report.pop("recent_events")] == ["call.denied", "token.reused"]
    assert report == {
        "total_events": 3,
        "summary": {"errors": 1, "warnings": 1, "info": 1},
        "monitoring_status": "active",
    }
    await store.aclose()
    assert (await summary(store))["monitoring_status"] == "degraded"
