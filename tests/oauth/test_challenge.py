"""RFC 9110 §11.6.1 and §11.2, RFC 6750 §3, RFC 9728 §5.1."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth import challenge
from garrison.oauth.challenge import Challenge

TCHAR = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
names = st.text(TCHAR, min_size=1, max_size=20)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=50)

READ = {
    "RFC 9110 §11.6.1: two schemes, a token, a quoted-pair": (
        'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""',
        [("basic", {"realm": "simple"}), ("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'})],
    ),
    "the same two, the other way round": (
        'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
        [("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}), ("basic", {"realm": "simple"})],
    ),
    "RFC 6750 §3": (
        'Bearer realm="example", error="invalid_token", error_description="The access token expired"',
        [
            (
                "bearer",
                {"realm": "example", "error": "invalid_token", "error_description": "The access token expired"},
            )
        ],
    ),
    "RFC 9728 §5.1": (
        'Bearer resource_metadata="https://resource.example.com/.well-known/oauth-protected-resource"',
        [("bearer", {"resource_metadata": "https://resource.example.com/.well-known/oauth-protected-resource"})],
    ),
    "RFC 9449 §7.1: two schemes of OAuth": (
        'Bearer error="invalid_token", DPoP algs="ES256 PS256"',
        [("bearer", {"error": "invalid_token"}), ("dpop", {"algs": "ES256 PS256"})],
    ),
    "token68": ("Negotiate a87421000492aa874209af8bc028", [("negotiate", {})]),
    "token68 with padding, then another scheme": (
        'Negotiate YWJj+/==, Bearer realm="x"',
        [("negotiate", {}), ("bearer", {"realm": "x"})],
    ),
    "schemes without parameters": ("Negotiate, NTLM,Bearer", [("negotiate", {}), ("ntlm", {}), ("bearer", {})]),
    "names are case-insensitive, values are not": ('BEARER Realm="X"', [("bearer", {"realm": "X"})]),
    "bad whitespace around = and empty list elements": (
        'Bearer , realm = "x" ,, error\t=\ty ,',
        [("bearer", {"realm": "x", "error": "y"})],
    ),
    "another challenge inside a quoted string is text": (
        'Basic realm="x, Bearer resource_metadata=\\"https://evil.example\\""',
        [("basic", {"realm": 'x, Bearer resource_metadata="https://evil.example"'})],
    ),
    "an escaped backslash before the closing quote": ('Bearer a="\\\\", b="c"', [("bearer", {"a": "\\", "b": "c"})]),
    "of a repeated parameter the first counts": ('Bearer error="a", error="b"', [("bearer", {"error": "a"})]),
    "an empty value": ('Bearer scope=""', [("bearer", {"scope": ""})]),
    "an unclosed quoted string ends the list": (
        'Basic realm="a", Bearer realm="b',
        [("basic", {"realm": "a"}), ("bearer", {})],
    ),
    "a bare URL is no token, and no part of it is taken for the value": (
        "Bearer resource_metadata=https://x.example/",
        [("bearer", {})],
    ),
    "nothing": ("", []),
    "no scheme": ('="x"', []),
}


@pytest.mark.parametrize(("header", "expected"), READ.values(), ids=READ.keys())
def test_a_header_is_read_as_the_rfcs_say(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert challenge.parse(header) == [Challenge(scheme, params) for scheme, params in expected]


@given(names, st.dictionaries(names.map(str.lower), printable, max_size=6))
def test_what_render_writes_parse_reads(scheme: str, params: dict[str, str]) -> None:
    assert challenge.parse(challenge.render(scheme, **params)) == [Challenge(scheme.lower(), params)]


@given(st.lists(st.tuples(names, st.dictionaries(names.map(str.lower), printable, max_size=3)), max_size=4))
def test_several_rendered_challenges_in_one_header_are_read_apart(written: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(challenge.render(scheme, **params) for scheme, params in written)
    assert challenge.parse(header) == [Challenge(scheme.lower(), params) for scheme, params in written]


@given(st.text() | st.text('Bearer, ="\\\t\r\na/:'))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert all(read.scheme for read in challenge.parse(text))


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "piece", ["a ", "a\t", "a=", "a,", 'a="', "\\", '"', ",", " ", "a=\\", "a = ", "a  =", "Bearer a", "A=,", 'a="\\"']
)
def test_a_long_hostile_header_is_read_in_linear_time(piece: str) -> None:
    for header in (piece * 500_000, "Bearer " + piece * 500_000, 'Bearer a="' + piece * 500_000):
        challenge.parse(header)


@given(st.text())
def test_no_value_can_break_out_of_its_quotes(value: str) -> None:
    rendered = challenge.render("Bearer", error_description=value, scope="mine")
    assert rendered.isascii()
    assert rendered.isprintable()
    clean = "".join(c for c in value if " " <= c <= "~")
    assert challenge.parse(rendered) == [Challenge("bearer", {"error_description": clean, "scope": "mine"})]


def test_parameters_that_are_none_are_left_out() -> None:
    assert challenge.render("Bearer", error=None, scope="a b") == 'Bearer scope="a b"'
    assert challenge.render("Bearer", error=None) == "Bearer"


def test_bearer_finds_the_first_bearer_challenge_of_all_headers() -> None:
    found = challenge.bearer(['Basic realm="x"', 'Negotiate, Bearer scope="a"', 'Bearer scope="b"'])
    assert found == Challenge("bearer", {"scope": "a"})
    assert challenge.bearer(['Basic realm="Bearer"']) is None
    assert challenge.bearer([]) is None
