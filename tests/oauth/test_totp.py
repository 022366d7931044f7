"""RFC 6238: its vectors, and what of a code's time is let pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth import totp

SECRET = b"12345678901234567890"
# Appendix B, SHA-1; the last six of its eight digits, as RFC 4226 section 5.3 cuts them.
VECTORS = {
    59: "287082",
    1111111109: "081804",
    1111111111: "050471",
    1234567890: "005924",
    2000000000: "279037",
    20000000000: "353130",
}


@pytest.mark.parametrize(("now", "code"), VECTORS.items())
def test_the_vectors_of_the_rfc(now: int, code: str) -> None:
    assert totp.code(SECRET, now // totp.STEP) == code
    assert totp.matching_step(SECRET, code, now) == now // totp.STEP


@pytest.mark.parametrize(("drift", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_good_one_step_early_and_one_step_late(drift: int, good: bool) -> None:
    step = 1111111111 // totp.STEP
    found = totp.matching_step(SECRET, totp.code(SECRET, step + drift), step * totp.STEP)
    assert found == (step + drift if good else None)


@given(st.integers(0, 2**40), st.integers(-1, 1))
def test_whatever_the_time_a_code_is_found_within_a_step_of_it(step: int, drift: int) -> None:
    made = max(0, step + drift)
    found = totp.matching_step(SECRET, totp.code(SECRET, made), step * totp.STEP)
    assert found is not None
    assert abs(found - step) <= totp.DRIFT
    assert totp.code(SECRET, found) == totp.code(SECRET, made)


@pytest.mark.parametrize("typed", ["", "28708", "0287082", "28708২", "287082 "])
def test_what_is_not_exactly_the_code_is_wrong(typed: str) -> None:
    assert totp.matching_step(SECRET, typed, 59) is None


def test_apps_are_told_all_that_they_need() -> None:
    uri = totp.uri(SECRET, issuer="auth.example", account="alice@example.com")
    assert uri.startswith("otpauth://totp/auth.example:alice%40example.com?")
    for part in (f"secret={totp.text(SECRET)}", "issuer=auth.example", "algorithm=SHA1", "digits=6", "period=30"):
        assert part in uri


def test_secrets_are_160_random_bits() -> None:
    secrets = {totp.new_secret() for _ in range(100)}
    assert {len(secret) for secret in secrets} == {20}
    assert len(secrets) == 100
    assert len(totp.text(SECRET)) == 32
