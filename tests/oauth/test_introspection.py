"""RFC 7662 §2: how a token is asked about, and that only a clear yes that fits is one."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth.basic import parse_basic
from garrison.oauth.errors import InvalidToken
from garrison.oauth.introspection import introspection_request, process_introspection
from garrison.oauth.token_claims import TokenShape, access_token

ISSUER, AUDIENCE, NOW = "https://as.example", "https://mcp.example/mcp", 1_800_000_000
ANSWER: Mapping[str, Any] = {"active": True, "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "token_type": "Bearer"}
ABSENT = "left out"


def answer(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**ANSWER, **changes}.items() if value != ABSENT}


def judge(given: Mapping[str, Any], signed: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "now": float(NOW), "leeway": 30, **options}
    return process_introspection(given, signed or {}, **settings)


def test_the_client_authenticates_by_basic_in_the_form_of_rfc_6749() -> None:
    form, headers = introspection_request("tok", "a:b c", "p%&")
    assert form == {"token": "tok", "token_type_hint": "access_token"}
    assert headers["authorization"] == "Basic " + b64encode(b"a%3Ab+c:p%25%26").decode()
    assert parse_basic(headers["authorization"]) == ("a:b c", "p%&")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"iss": ABSENT},
        {"token_type": ABSENT},
        {"token_type": "bearer"},
        {"aud": ["https://other.example", AUDIENCE]},
        {"exp": NOW - 29},
        {"nbf": NOW + 30},
        {"typ": "Bearer"},
        {"token_use": "access_token"},
    ],
    ids=str,
)
def test_a_clear_yes_is_one(changes: dict[str, Any]) -> None:
    assert judge(answer(**changes))["exp"] == answer(**changes)["exp"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"active": False}, "not active"),
        ({"active": ABSENT}, "not active"),
        ({"active": "true"}, "not active"),
        ({"active": 1}, "not active"),
        ({"active": None}, "not active"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": ABSENT}, "another resource"),
        ({"aud": None}, "another resource"),
        ({"aud": []}, "another resource"),
        ({"aud": AUDIENCE + "/"}, "another resource"),
        ({"exp": ABSENT}, "valid exp"),
        ({"exp": str(NOW)}, "valid exp"),
        ({"exp": NOW - 30}, "expired"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"nbf": "now"}, "not valid yet"),
        ({"iat": NOW + 31}, "not valid yet"),
        ({"iat": "now"}, "valid iat"),
        ({"token_type": "DPoP"}, "not a bearer token"),
        ({"token_type": "refresh_token"}, "not a bearer token"),
        ({"token_type": None}, "not a bearer token"),
        ({"cnf": {"x5t#S256": "x"}}, "bound to a key"),
        ({"typ": "Refresh"}, "not an access token"),
        ({"token_use": "refresh_token"}, "not an access token"),
        ({"token_use": "id"}, "not an access token"),
        ({"nonce": "n"}, "not an access token"),
    ],
    ids=str,
)
def test_anything_else_is_a_no(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidToken, match=why):
        judge(answer(**changes))


def test_leeway_is_a_minute_at_most() -> None:
    judge(answer(exp=NOW - 59), leeway=3600)
    with pytest.raises(InvalidToken, match="expired"):
        judge(answer(exp=NOW - 60), leeway=3600)


def test_no_audience_will_do_only_where_that_is_said() -> None:
    judge(answer(aud=ABSENT), insecure_absent_audience=True)
    others: list[Any] = [AUDIENCE + "/x", None, [], ""]
    for aud in others:
        with pytest.raises(InvalidToken, match="another resource"):
            judge(answer(aud=aud), insecure_absent_audience=True)


SIGNED = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "sub": "alice"}


def test_what_a_verified_token_says_itself_the_answer_need_not_repeat() -> None:
    assert judge({"active": True}, SIGNED)["sub"] == "alice"


@pytest.mark.parametrize("given", [{"exp": NOW - 30}, {"aud": "x"}, {"iss": "x"}, {"cnf": {}}, {"active": False}])
def test_but_what_the_answer_says_counts(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        judge({"active": True, **given}, SIGNED)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["Bearer", ISSUER]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["active", "iss", "aud", "exp", "iat", "nbf", "token_type", "cnf", "typ", "token_use", "nonce", "jti"]
SHAPE = TokenShape(scope_claims=("scp", "scope"), client_id_claims=("cid", "client_id"))


@given(st.dictionaries(st.sampled_from([*NAMES, "sub", "client_id", "cid", "scp", "scope"]), json_values))
def test_whatever_an_answer_says_it_is_a_token_or_none(changes: dict[str, Any]) -> None:
    """And a token it is only if it is active, of this issuer, for this audience, and in time."""
    given_answer = answer(**{"sub": "alice", "client_id": "desk", **changes})
    try:
        token = access_token(judge(given_answer), SHAPE, ISSUER)
    except InvalidToken:
        return
    assert given_answer["active"] is True
    assert given_answer.get("iss", ISSUER) == ISSUER
    assert AUDIENCE in token.audience
    assert token.expires_at + 30 > NOW
    assert token.subject
    assert token.client_id
