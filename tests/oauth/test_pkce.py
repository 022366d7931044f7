"""RFC 7636 as OAuth 2.1 narrows it: S256 alone."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth import pkce
from garrison.oauth.errors import InvalidGrant, InvalidRequest

UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
# RFC 7636 appendix B
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

verifiers = st.text(UNRESERVED, min_size=43, max_size=128)


def test_the_challenge_of_appendix_b_is_computed() -> None:
    assert pkce.challenge_s256(VERIFIER) == CHALLENGE


def test_the_verifier_of_appendix_b_is_accepted() -> None:
    pkce.verify(VERIFIER, CHALLENGE)


@given(verifiers)
def test_every_verifier_of_the_form_of_section_4_1_matches_its_own_challenge(verifier: str) -> None:
    pkce.verify(verifier, pkce.check_challenge(pkce.challenge_s256(verifier), "S256"))


def test_a_new_verifier_has_256_bits_in_the_form_of_section_4_1() -> None:
    made = {pkce.new_verifier() for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", verifier) for verifier in made)


@pytest.mark.parametrize("challenge", [None, ""])
def test_a_request_without_code_challenge_is_refused(challenge: str | None) -> None:
    with pytest.raises(InvalidRequest, match="code_challenge is required"):
        pkce.check_challenge(challenge, "S256")


@pytest.mark.parametrize("method", ["plain", None, "", "s256", "S512", "S256 "])
def test_a_method_other_than_s256_is_refused_and_an_absent_one_means_plain(method: str | None) -> None:
    with pytest.raises(InvalidRequest, match="code_challenge_method must be S256"):
        pkce.check_challenge(CHALLENGE, method)


@pytest.mark.parametrize(
    "challenge",
    [
        CHALLENGE[:-1],
        CHALLENGE + "A",
        CHALLENGE + "=",
        CHALLENGE + "\n",
        CHALLENGE[:-1] + "+",
        CHALLENGE[:-1] + ".",
        CHALLENGE[:-1] + "é",
    ],
)
def test_a_challenge_that_is_not_43_base64url_characters_is_refused(challenge: str) -> None:
    with pytest.raises(InvalidRequest, match="43 base64url"):
        pkce.check_challenge(challenge, "S256")


@pytest.mark.parametrize("verifier", [None, ""])
def test_a_token_request_without_code_verifier_is_refused(verifier: str | None) -> None:
    with pytest.raises(InvalidGrant, match="code_verifier is required"):
        pkce.verify(verifier, CHALLENGE)


@pytest.mark.parametrize("length", [1, 42, 129])
def test_a_verifier_shorter_than_43_or_longer_than_128_characters_is_refused_though_it_matches(length: int) -> None:
    verifier = "a" * length
    with pytest.raises(InvalidGrant, match="43 to 128"):
        pkce.verify(verifier, pkce.challenge_s256(verifier))


@pytest.mark.parametrize("odd", ["+", "/", "=", " ", "%", "\n"])
def test_a_verifier_with_a_character_that_is_not_unreserved_is_refused_though_it_matches(odd: str) -> None:
    verifier = VERIFIER + odd
    with pytest.raises(InvalidGrant, match="43 to 128"):
        pkce.verify(verifier, pkce.challenge_s256(verifier))


def test_a_verifier_outside_ascii_is_refused() -> None:
    with pytest.raises(InvalidGrant):
        pkce.verify("é" * 43, CHALLENGE)


def test_the_challenge_itself_is_no_verifier() -> None:
    with pytest.raises(InvalidGrant, match="does not match"):
        pkce.verify(CHALLENGE, CHALLENGE)


@given(verifiers)
def test_another_verifier_than_the_one_that_made_the_challenge_is_refused(verifier: str) -> None:
    with pytest.raises(InvalidGrant, match="does not match"):
        pkce.verify(verifier, CHALLENGE)
