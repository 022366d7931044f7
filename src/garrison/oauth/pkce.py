"""RFC 7636: Proof Key for Code Exchange, by S256 alone (OAuth 2.1 §7.5.2 forbids `plain`)."""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode

from garrison.oauth.errors import InvalidGrant, InvalidRequest

METHOD = "S256"
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # §4.2: base64url of 32 bytes
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # §4.1


def new_verifier() -> str:
    """A code_verifier of 43 characters, 256 bits (§4.1)."""
    return secrets.token_urlsafe(32)


def challenge_s256(verifier: str) -> str:
    """The code_challenge of `verifier` (§4.2)."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def check_challenge(challenge: str | None, method: str | None) -> str:
    """The challenge, if it can be one.

    Raises:
        InvalidRequest: it is absent, its method is not S256 (an absent method means `plain`, §4.3), or it isn't 43
            base64url characters.
    """
    if not challenge:
        raise InvalidRequest("code_challenge is required")
    if method != METHOD:
        raise InvalidRequest("code_challenge_method must be S256")
    if not _CHALLENGE.fullmatch(challenge):
        raise InvalidRequest("code_challenge must be 43 base64url characters")
    return challenge


def verify(verifier: str | None, challenge: str) -> None:
    """Check `verifier` against `challenge` in constant time (§4.6).

    Raises:
        InvalidGrant: it is absent, not of the form of §4.1, or another's.
    """
    if not verifier:
        raise InvalidGrant("code_verifier is required")
    if not _VERIFIER.fullmatch(verifier):
        raise InvalidGrant("code_verifier must be 43 to 128 unreserved characters")
    if not hmac.compare_digest(challenge_s256(verifier), challenge):
        raise InvalidGrant("code_verifier does not match the code_challenge")
