"""RFC 6749 §2.3.1."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth.basic import parse_basic, render_basic
from garrison.oauth.errors import InvalidClient

text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))  # VSCHAR, RFC 6749 appendix A


def test_the_example_of_section_2_3_1_is_read_and_written() -> None:
    example = "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"
    assert parse_basic(example) == ("s6BhdRkqt3", "gX1fBat3bV")
    assert render_basic("s6BhdRkqt3", "gX1fBat3bV") == example


@given(text.filter(bool), text)
def test_every_id_and_secret_come_back_as_they_were(client_id: str, secret: str) -> None:
    assert parse_basic(render_basic(client_id, secret)) == (client_id, secret)


@pytest.mark.parametrize("pair", [("a\0", "s"), ("a", "s\n"), ("ä", "s"), ("a", "s\x7f")])
def test_what_no_id_or_secret_can_be_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(InvalidClient):
        parse_basic(render_basic(*pair))


def test_a_colon_in_the_id_is_encoded_and_cannot_move_the_secret() -> None:
    assert parse_basic(render_basic("https://client.example/id", "a:b")) == ("https://client.example/id", "a:b")


def test_the_scheme_is_case_insensitive() -> None:
    assert parse_basic("bAsIc " + b64encode(b"id:secret").decode()) == ("id", "secret")


@given(st.text())
def test_any_header_is_credentials_or_an_invalid_client(header: str) -> None:
    try:
        client_id, _ = parse_basic(header)
    except InvalidClient:
        return
    assert client_id


@given(st.binary())
def test_any_bytes_in_basic_are_credentials_or_an_invalid_client(credentials: bytes) -> None:
    try:
        client_id, _ = parse_basic("Basic " + b64encode(credentials).decode())
    except InvalidClient:
        return
    assert client_id


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Bearer aWQ6c2VjcmV0",
        "Basic aWQ6c2VjcmV",  # padding gone
        "Basic aWQ6!c2VjcmV0",  # not base64
        "Basic \xe9\xe9\xe9\xe9",  # what a header of latin-1 bytes looks like
        "Basic " + b64encode(b"no colon").decode(),
        "Basic " + b64encode(b":secret of nobody").decode(),
        "Basic " + b64encode(b"\xff:secret").decode(),
        "Basic " + b64encode(b"%FF:secret").decode(),  # form encoding of what is not UTF-8
    ],
)
def test_malformed_credentials_are_an_invalid_client(header: str) -> None:
    with pytest.raises(InvalidClient):
        parse_basic(header)
