"""Security events: one event is one line (THREATS.md 29), and what can't be made durable is an error."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from garrison.base.errors import EventStoreError
from garrison.base.events import (
    MAX_TEXT,
    SEVERITIES,
    Event,
    Kind,
    NullSink,
    Scalar,
    Severity,
    emit,
    new_correlation_id,
    one_line,
)

FORGERIES = {
    "CR LF": "a\r\nb",
    "LF": "a\nb",
    "NEL": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "vertical tab": "a\x0bb",
    "ANSI": "a\x1b[31mb",
    "C1 CSI": "a\x9b31mb",
    "backspace": "a\x08b",
    "NUL": "a\x00b",
    "bidi override": "a\u202eb",
    "bidi isolate": "a\u2066b",
    "right-to-left mark": "a\u200fb",
    "zero width space": "a\u200bb",
    "byte order mark": "a\ufeffb",
    "soft hyphen": "a\u00adb",
    "tag block": "a\U000e0041b",
    "lone surrogate": "a\ud800b",
}


class Memory:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def write(self, event: Event) -> None:
        self.events.append(event)

    def write_soon(self, event: Event) -> None:
        self.events.append(event)


class Broken:
    async def write(self, event: Event) -> None:
        raise EventStoreError("the disk is full")

    def write_soon(self, event: Event) -> None:
        raise EventStoreError("the disk is full")


@pytest.mark.parametrize("text", FORGERIES.values(), ids=FORGERIES.keys())
def test_what_could_forge_a_line_is_made_visible(text: str) -> None:
    assert one_line(text).startswith("a\N{REPLACEMENT CHARACTER}")
    assert one_line(text).endswith("b")


@given(st.text(st.characters(), max_size=2 * MAX_TEXT))
def test_any_text_becomes_one_short_line_that_can_be_stored_and_stays_as_it_is(text: str) -> None:
    line = one_line(text)
    assert len(line) <= MAX_TEXT
    assert len(f"x{line}x".splitlines()) == 1
    assert not {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert one_line(line.encode().decode()) == line


@pytest.mark.parametrize("text", ["", "tools/call get_customer_info", "Ünïcödé 日本語 🦀", "a\N{NO-BREAK SPACE}b"])
def test_honest_text_is_kept(text: str) -> None:
    assert one_line(text) == text


def test_a_cut_is_marked() -> None:
    assert one_line("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert one_line("x" * (MAX_TEXT + 1)) == "x" * (MAX_TEXT - 1) + "…"


@pytest.mark.parametrize("field", ["correlation_id", "subject", "client_id", "address", "target", "reason"])
async def test_every_text_of_an_event_is_cleaned_before_it_is_written(field: str) -> None:
    sink = Memory()
    event = replace(Event(kind=Kind.CALL_DENIED, correlation_id="c"), **{field: "a\r\nb"})
    await emit(sink, event)
    assert getattr(sink.events[0], field) == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"


async def test_the_detail_of_an_event_is_cleaned_in_names_and_values() -> None:
    sink = Memory()
    detail: dict[str, Scalar] = {"a\nb": "c\x1bd", "n": 1, "f": 0.5, "t": True, "none": None}
    await emit(sink, Event(kind=Kind.CALL_ALLOWED, correlation_id="c", detail=detail))
    assert sink.events[0].detail == {"a\ufffdb": "c\ufffdd", "n": 1, "f": 0.5, "t": True, "none": None}


async def test_all_else_of_an_event_is_kept() -> None:
    sink, event = Memory(), Event(kind=Kind.TOKEN_ISSUED, correlation_id="c", subject="s", reason="r", time=5.0)
    await emit(sink, event)
    assert sink.events == [event]


async def test_an_event_without_a_time_has_the_time_of_its_writing() -> None:
    sink = Memory()
    await emit(sink, Event(kind=Kind.LOGIN_FAILED, correlation_id="c"), clock=lambda: 7.0)
    assert sink.events[0].time == 7.0


async def test_an_event_that_is_not_durable_is_an_error_of_whoever_emits_it() -> None:
    with pytest.raises(EventStoreError, match="disk is full"):
        await emit(Broken(), Event(kind=Kind.CALL_ALLOWED, correlation_id="c"))


async def test_the_null_sink_keeps_nothing_and_fails_nobody() -> None:
    await emit(NullSink(), Event(kind=Kind.CALL_ALLOWED, correlation_id="c"))


def test_what_was_refused_is_a_warning_and_what_was_stolen_an_error() -> None:
    assert Event(kind=Kind.CALL_ALLOWED, correlation_id="c").severity is Severity.INFO
    assert Event(kind=Kind.CALL_DENIED, correlation_id="c").severity is Severity.WARNING
    assert Event(kind=Kind.TOKEN_REUSED, correlation_id="c").severity is Severity.ERROR
    refusals = {kind for kind in Kind if kind.endswith(("denied", "failed", "limited", "rejected"))}
    assert all(SEVERITIES[kind] is not Severity.INFO for kind in refusals)


def test_no_two_events_or_requests_share_an_id() -> None:
    assert len({new_correlation_id() for _ in range(100)}) == 100
    assert len({Event(kind=Kind.CALL_ALLOWED, correlation_id="c").id for _ in range(100)}) == 100


@pytest.mark.parametrize("text", [*FORGERIES.values(), "x" * 513], ids=[*FORGERIES.keys(), "too long"])
@pytest.mark.parametrize("name", ["correlation_id", "subject", "client_id", "address", "target", "reason", "detail"])
async def test_an_event_that_has_a_time_is_cleaned_all_the_same(name: str, text: str) -> None:
    given: dict[str, Any] = {"correlation_id": "c", name: {"key": text} if name == "detail" else text}
    sink = Memory()
    await emit(sink, Event(kind=Kind.CALL_DENIED, time=1.0, **given))
    (stored,) = sink.events
    assert text not in (getattr(stored, name), *stored.detail.values())
