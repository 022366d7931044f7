"""Canonical text: what is refused is never what a person can see."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.content.text import canonical, comparable, problem

HONEST = {
    "code": "How do I DROP TABLE safely? ; rm -rf / <script>alert('${x}')</script> `id` {{7*7}}",
    "lines": "one\n\ttwo\r\nthree",
    "family emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "heart on fire": "\u2764\ufe0f\u200d\U0001f525",
    "keycap": "1\ufe0f\u20e3",
    "flag": "\U0001f1e9\U0001f1ea",
    "skin tone": "\U0001f44d\U0001f3fd",
    "Han variant": "\u845b\U000e0100",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Hindi": "\u0915\u094d\u200d\u0937",
    "Hebrew": "\u200f\u05e9\u05dc\u05d5\u05dd (english)\u200f",
    "soft hyphen": "Donau\u00addampf\u00adschiff",
    "no-break space": "10\u00a0000\u202f\u20ac",
    "Arabic number sign": "\u0600\u0661",
    "private use": "\uf8ff",
    "newer than this Python": "\U0001fadf",
}

HIDDEN = {
    "null": "a\0b",
    "escape": "a\x1b[31mb",
    "lone carriage return": "a\rb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "lone surrogate": "a\ud800b",
    "override": "a\u202eb",
    "isolate": "a\u2066b",
    "tag block": "a\U000e0069\U000e0067b",
    "tag block after a flag": "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "zero-width space": "a\u200bb",
    "word joiner": "a\u2060b",
    "byte order mark": "\ufeffa",
    "joiner among ASCII": "a\u200db",
    "run of joiners": "\u00e9\u200d\u200c\u200d",
    "run of selectors": "\U0001f600\ufe01\ufe02",
    "selector after a letter": "a\ufe01",
    "selector after a space": " \ufe01",
    "selector at the start": "\ufe0fa",
    "joiner at the start": "\u200da",
    "run of soft hyphens": "a\u00ad\u00adb",
    "run of marks": "a\u200e\u200fb",
    "mark after a joiner": "\u00e9\u200d\u200eb",
    "Hangul filler": "a\u3164b",
    "combining grapheme joiner": "a\u034fb",
    "empty Braille cell": "a\u2800b",
    "non-character": "a\uffffb",
    "invisible times": "a\u2062b",
    "interlinear annotation": "a\ufff9b",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_text_passes(name: str) -> None:
    assert problem(HONEST[name]) is None


@pytest.mark.parametrize("name", HIDDEN)
def test_characters_that_a_person_does_not_see_are_refused(name: str) -> None:
    wrong = problem(HIDDEN[name])
    assert wrong is not None
    assert wrong.isascii()
    with pytest.raises(ValueError, match="not allowed"):
        canonical(HIDDEN[name])


def test_a_problem_names_the_character_and_its_place() -> None:
    assert problem("ab\u202ec") == "holds the character U+202E at position 2, which is not allowed here"


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a\r\nb"])
def test_one_line_holds_no_line_breaks_and_no_tabs(text: str) -> None:
    assert problem(text, multiline=True) is None
    assert problem(text, multiline=False) is not None


def test_what_is_stored_is_nfc_with_unix_line_ends() -> None:
    assert canonical("e\u0301\r\nA\u030a") == "\u00e9\n\u00c5"
    assert canonical("\ufb01 \u2460") == "\ufb01 \u2460", "NFKC is not for storing"


def test_comparing_ignores_case_and_compatibility_forms() -> None:
    assert comparable("\ufb01\uff21STRASSE") == comparable("fia stra\u00dfe".replace(" ", ""))


@given(st.text())
def test_what_is_canonical_stays_so(text: str) -> None:
    if problem(text) is None:
        assert canonical(canonical(text)) == canonical(text)
        assert unicodedata.is_normalized("NFC", canonical(text))


SEEN_FORMATS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
FORMATS = st.characters(categories=["Cf"], exclude_characters=SEEN_FORMATS)


@given(FORMATS, FORMATS, st.sampled_from("a \u00e9\u05d0\U0001f600"))
def test_two_invisible_characters_never_stand_together(first: str, second: str, before: str) -> None:
    assert problem(before + first + second + "b") is not None


NOT_SEEN_OR_MARKS = "\u115f\u1160\u3164\uffa0\u2800\uff9e\uff9f"


@given(st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters=NOT_SEEN_OR_MARKS)))
def test_letters_numbers_punctuation_and_symbols_always_pass(text: str) -> None:
    assert problem(text, multiline=False) is None


def test_a_long_run_that_combines_is_refused_in_no_time() -> None:
    """Unicode's normal forms put such a run in order; Python's way takes a quarter of a minute for this one."""
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"more than 30 combining characters in a row, at position 1$"):
        canonical("a" + "\u0300\u0316" * 60_000)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("mark", ["\u0316", "\u064b", "\U0001d165", "\u0f73", "\u0f75", "\u0f81"])
def test_thirty_characters_may_combine_in_a_row_and_no_more(mark: str) -> None:
    assert canonical(f"a{mark * 30}b{mark * 30}")
    assert problem(f"xa{mark * 31}") == "holds more than 30 combining characters in a row, at position 2"
    assert problem("\u6f22\u5b57" * 1000) is None


def test_every_character_of_which_nothing_but_marks_is_left_counts_as_combining() -> None:
    """Tibetan has some without a combining class; twenty thousand of them took the normal form two seconds."""
    for character in map(chr, range(0x110000)):
        parts = unicodedata.normalize("NFKD", character)
        if all(map(unicodedata.combining, parts)):
            assert "more than 30 combining" in (problem("a" + character * 31) or ""), hex(ord(character))
