"""The token estimate: cheap, bounded, and honest within what its docstring says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.limits.tokens import estimate_tokens

# Counts by OpenAI's cl100k vocabulary.
COUNTED = {
    "How do I locate my card?": 7,
    "SELECT count(*) FROM singer WHERE age > 30 ORDER BY name": 13,
    json.dumps({"customer_id": "ABC12345", "amounts": [100.5, 250.75, 1000]}): 27,
    "find . -name '*.txt' -mtime +30 -exec rm {} \\;": 17,
}


@pytest.mark.parametrize("text", COUNTED)
def test_an_estimate_of_ordinary_text_is_within_a_third_of_the_count(text: str) -> None:
    assert COUNTED[text] * 2 / 3 <= estimate_tokens(text) <= COUNTED[text] * 4 / 3


@given(st.text())
def test_text_and_its_bytes_are_estimated_alike(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert estimate_tokens(text) == estimate_tokens(data)
    assert len(data) / 4 <= estimate_tokens(data) <= len(data)


@given(st.text(), st.text())
def test_more_text_never_costs_less(first: str, more: str) -> None:
    assert estimate_tokens(first + more) >= estimate_tokens(first)


def test_nothing_costs_nothing() -> None:
    assert estimate_tokens(b"") == 0
