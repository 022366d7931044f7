"""RFC 8259, strictly: what Python's parser would let through or choke on is refused."""

import contextlib
import json
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.content import json_text
from garrison.content.json_text import JsonError, parse_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_json_can_say_comes_back(value: Any) -> None:
    assert parse_json(json.dumps(value).encode(), max_depth=1000) == value


@given(st.binary() | st.text(st.sampled_from('[]{}",:\\ua1e9 ')).map(str.encode))
def test_any_bytes_give_a_value_or_a_json_error(data: bytes) -> None:
    with contextlib.suppress(JsonError):
        assert parse_json(data) == json.loads(data)


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def outcome(parse: Callable[[bytes], Any], data: bytes) -> str:
    """The value with its types, as 1, 1.0 and True are equal; or what was wrong."""
    try:
        return repr(parse(data))
    except JsonError as error:
        return f"refused: {error}"


SCRAPS = [
    b"",
    b" ",
    b'"',
    b"\\",
    b"\\ud800",
    b"\\u0041",
    b"0",
    b"-0",
    b"e9",
    b".0",
    b',"a":1',
    b"[",
    b"}",
    b"\xff",
    b"\0",
    b"NaN",
]
NUMBERS = [0, -1, 2**63, 2**64, -(2**200), 0.0, -0.0, 1.0, 1e16, 1e22, 1e-7, 5e-324, 1.7976931348623157e308]
TEXTS = ["", "a", "\N{LATIN SMALL LETTER E WITH ACUTE}", '"\\/', "\x01\x1f\x7f\n", "\u2028\N{GRINNING FACE}", "{}[],:"]


def made_up(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(7 if depth < 4 else 4)
    if kind == 0:
        return random.choice([None, True, False])
    if kind == 1:
        return random.choice([*NUMBERS, random.getrandbits(70), random.random() * 10.0 ** random.randrange(-320, 300)])
    if kind < 4:
        return random.choice(TEXTS)
    if kind == 4:
        return [made_up(random, depth + 1) for _ in range(random.randrange(4))]
    return {random.choice(TEXTS): made_up(random, depth + 1) for _ in range(random.randrange(4))}


def mangled(random: Random, text: bytes) -> bytes:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(SCRAPS) + text[at + random.randrange(4) :]


@given(st.integers(0, 2**32))
def test_the_fast_parser_and_the_strict_one_agree_on_every_text(seed: int) -> None:
    random = Random(seed)  # noqa: S311  it makes texts up
    for _ in range(25):
        data = compact(made_up(random))
        for text in (data, mangled(random, data), mangled(random, mangled(random, data))):
            assert outcome(parse_json, text) == outcome(json_text._parse_strictly, text)


@pytest.mark.parametrize("name", ["a", "\N{LATIN SMALL LETTER E WITH ACUTE}", ""])
def test_compact_text_with_a_duplicate_name_is_refused_too(name: str) -> None:
    member = compact({name: 1})[1:-1]
    with pytest.raises(JsonError, match="duplicate name"):
        parse_json(b'{"x":[{' + member + b"," + member + b"}]}")


def test_compact_text_takes_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "_parse_strictly", lambda _data: "slow")
    assert parse_json(compact({"a": [1, 1.5, "\N{SNOWMAN}", None, True]})) != "slow"
    assert parse_json(b'{"a": 1}') == "slow"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a":1,"a":2}', "duplicate name"),
        (b'{"a":1,"\\u0061":2}', "duplicate name"),
        (b'[{"x":{"b":0,"b":0}}]', "duplicate name"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "NaN or Infinity"),
        (b"[-Infinity]", "NaN or Infinity"),
        (b"1e999", "out of range"),
        (b"-1e999999999", "out of range"),
        (b'"\\ud800"', "Unicode"),
        (b'{"\\udfff":1}', "Unicode"),
        (b'"\xed\xa0\x80"', "Unicode"),
        (b'"\xff"', "Unicode"),
        ('"a"'.encode("utf-16"), "Unicode"),
        ('"a"'.encode("utf-32-be"), "malformed"),
        (b"\xef\xbb\xbf{}", "malformed"),
        (b"", "malformed"),
        (b"{} {}", "malformed"),
        (b"{'a':1}", "malformed"),
        (b'"a\nb"', "malformed"),
        (b"[1,]", "malformed"),
        (b"9" * 5000, "malformed"),
    ],
)
def test_what_others_read_differently_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(JsonError, match=words):
        parse_json(data)


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_counts_arrays_and_objects(opening: str, closing: str) -> None:
    def nested(levels: int) -> bytes:
        times = levels // (opening.count("[") + opening.count("{"))
        return (opening * times + "1" + closing * times + " ").encode()

    assert parse_json(nested(32)) is not None
    with pytest.raises(JsonError, match="deeper than 32"):
        parse_json(nested(34))
    assert parse_json(nested(34), max_depth=34) is not None


def test_brackets_within_strings_and_side_by_side_are_not_deep() -> None:
    flat = [[], {}, "[" * 100, '\\"[{', {"]": "}"}] * 50
    assert parse_json(json.dumps(flat).encode()) == flat


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 4_000_000,
        b'{"a":' * 800_000,
        b"[]," * 1_300_000,
        b"[]" * 40 + b'"' + b'\\"' * 2_000_000 + b"\\",
        b'["' * 2_000_000,
    ],
    ids=["arrays", "objects", "flat", "escapes", "quotes"],
)
def test_hostile_megabytes_are_refused_in_no_time(data: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(JsonError):
        parse_json(data)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("number", ["1.7976931348623157e308", "1E+308", "2.2250738585072014e-308", "5e-324"])
def test_many_numbers_near_a_floats_ends_take_the_strict_way(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """They take the faster parser twenty times as long."""
    monkeypatch.setattr(json_text, "_parse_strictly", lambda _data: "slow")
    assert parse_json(f"[{','.join([number] * 1000)}]".encode()) == "slow"
    assert parse_json(f"[{number}]".replace("E+", "e").encode()) == [float(number)]


def test_text_longer_than_the_cap_is_refused() -> None:
    assert parse_json(b'"xx"', max_bytes=4) == "xx"
    with pytest.raises(JsonError, match="longer than 4 bytes"):
        parse_json(b'"xxx"', max_bytes=4)
