"""RFC 6238: one-time codes that follow from a shared secret and the time, as every authenticator app makes them."""

import secrets
from base64 import b32encode
from hmac import compare_digest

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

STEP = 30
"""Seconds that a code stands for (§4.1)."""
DIGITS = 6
DRIFT = 1
"""Steps that the app's clock may be ahead or behind, and a person slow (§5.2)."""
SECRET_BYTES = 20
"""What RFC 4226 §4 recommends for HMAC-SHA-1."""


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def text(secret: bytes) -> str:
    """The secret as people type it into an app: base32 without padding."""
    return b32encode(secret).decode().rstrip("=")


def uri(secret: bytes, *, issuer: str, account: str) -> str:
    """The otpauth: URI that apps read from a QR code; `issuer` and `account` are what they call the entry."""
    return _generator(secret).get_provisioning_uri(account, issuer)


def code(secret: bytes, step: int) -> str:
    return _generator(secret).generate(step * STEP).decode()


def matching_step(secret: bytes, typed: str, now: float) -> int | None:
    """The step whose code was `typed`, among those that `DRIFT` allows; None if there is none.

    A code is good once (§5.2): whoever takes it keeps the step, and takes no code of it or an earlier one again.
    """
    middle = int(now // STEP)
    steps = range(max(middle - DRIFT, 0), middle + DRIFT + 1)
    return next((step for step in steps if compare_digest(typed.encode(), code(secret, step).encode())), None)


def _generator(secret: bytes) -> TOTP:
    # SHA-1 is what apps know; HMAC asks of it nothing that was broken (RFC 6194 §3.3).
    return TOTP(secret, DIGITS, SHA1(), STEP)  # noqa: S303
