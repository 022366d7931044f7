"""RFC 6749 §3.3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth import scope
from garrison.oauth.errors import InvalidScope

NQCHAR = [chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"\\']
tokens = st.text(st.sampled_from(NQCHAR), min_size=1, max_size=20)


@pytest.mark.parametrize("value", [None, "", " ", "   "])
def test_no_scope_and_an_empty_scope_are_no_tokens(value: str | None) -> None:
    assert scope.parse(value) == frozenset()


def test_order_and_repetition_mean_nothing() -> None:
    assert scope.parse("b a  b") == scope.parse("a b") == {"a", "b"}


@given(st.frozensets(tokens, max_size=scope.MAX_TOKENS))
def test_what_render_writes_parse_reads(scopes: frozenset[str]) -> None:
    assert scope.parse(scope.render(scopes)) == scopes


@given(st.lists(tokens, max_size=10))
def test_equal_scopes_look_equal(scopes: list[str]) -> None:
    assert scope.render(set(scopes)) == scope.render(frozenset(scopes))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = scope.parse(text)
    except InvalidScope:
        return
    assert all(set(token) <= set(NQCHAR) for token in read)


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\tb", "a\nb", "a\x00b", "a\u00a0b", "ä", "a\x7f"])
def test_a_character_that_section_3_3_does_not_allow_is_refused(value: str) -> None:
    with pytest.raises(InvalidScope):
        scope.parse(value)


def test_more_than_64_tokens_are_refused() -> None:
    assert len(scope.parse(" ".join(f"s{n}" for n in range(64)))) == 64
    with pytest.raises(InvalidScope):
        scope.parse(" ".join(f"s{n}" for n in range(65)))


def test_a_token_longer_than_128_characters_is_refused() -> None:
    assert scope.parse("a" * 128)
    with pytest.raises(InvalidScope):
        scope.parse("a" * 129)


def test_a_grant_covers_what_it_contains_and_nothing_else() -> None:
    assert scope.covers({"read", "write"}, {"read"})
    assert scope.covers({"read"}, ())
    assert not scope.covers({"read"}, {"read", "write"})
    assert not scope.covers({"customer:read"}, {"customer"})
    assert not scope.covers((), {"read"})
