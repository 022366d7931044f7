"""RFC 6749 §5.2, RFC 6750 §3.1, RFC 8707 §2: error codes, statuses and what may be said with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth import errors
from garrison.oauth.errors import InsufficientScope, InvalidRequest, InvalidToken, OAuthError, UnknownKey

CODES = {
    "InvalidRequest": ("invalid_request", 400),
    "InvalidClient": ("invalid_client", 401),
    "InvalidGrant": ("invalid_grant", 400),
    "UnauthorizedClient": ("unauthorized_client", 400),
    "UnsupportedGrantType": ("unsupported_grant_type", 400),
    "InvalidScope": ("invalid_scope", 400),
    "InvalidTarget": ("invalid_target", 400),
    "AccessDenied": ("access_denied", 403),
    "UnsupportedResponseType": ("unsupported_response_type", 400),
    "ServerError": ("server_error", 500),
    "TemporarilyUnavailable": ("temporarily_unavailable", 503),
    "LoginRequired": ("login_required", 400),
    "ConsentRequired": ("consent_required", 400),
    "InvalidToken": ("invalid_token", 401),
}


@pytest.mark.parametrize(("name", "code", "status"), [(name, *rest) for name, rest in CODES.items()])
def test_each_error_has_the_code_and_status_of_its_rfc(name: str, code: str, status: int) -> None:
    error: OAuthError = getattr(errors, name)("why")
    assert (error.as_json(), error.status) == ({"error": code, "error_description": "why"}, status)


def test_an_insufficient_scope_says_what_is_needed() -> None:
    error = InsufficientScope(("ticket:create",))
    assert (error.error, error.status, error.scope) == ("insufficient_scope", 403, ("ticket:create",))


def test_an_unknown_key_is_an_invalid_token_that_keeps_the_kid_and_says_it_to_nobody() -> None:
    error = UnknownKey("k" * 1000)
    assert isinstance(error, InvalidToken)
    assert error.kid == "k" * 1000
    assert "kkk" not in error.description
    assert len(error.detail) < 100


def test_the_detail_is_never_sent() -> None:
    assert "private" not in str(InvalidRequest("public", detail="private").as_json())


@given(st.text())
def test_a_description_has_only_the_characters_that_section_5_2_allows(text: str) -> None:
    assert all(" " <= c <= "~" and c not in '"\\' for c in InvalidRequest(text).description)


def test_headers_of_one_error_are_not_those_of_another() -> None:
    assert InvalidRequest("a").headers is not InvalidRequest("b").headers
