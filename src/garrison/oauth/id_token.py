"""OpenID Connect Core §3.1.3.7: the ID token that an OpenID provider answers a code with, judged by its client."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from garrison.oauth import client_assertion, signed_jwt, token_claims
from garrison.oauth.errors import InvalidToken

ALGORITHMS = tuple(signed_jwt.KEY_TYPES)
"""Asymmetric ones alone: with HS256 the client secret would be the key, and `none` is no signature."""
LEEWAY = 30
"""Seconds that the provider's clock may differ by."""
MAX_AGE = 600
"""Seconds since it was issued: it answers a code that was sent a moment ago."""
_SUBJECT = re.compile(r"[ -~]{1,255}")  # §2: at most 255 ASCII characters


@dataclass(frozen=True)
class IdToken:
    """A verified ID token: who signed in, and all that it says about them."""

    subject: str
    claims: Mapping[str, Any] = field(repr=False)


def verify(token: str, key_set: Any, *, issuer: str, client_id: str, nonce: str, now: float) -> IdToken:
    """Judge `token` as the client must that asked for it.

    Args:
        token: the compact JWS.
        key_set: the issuer's JWK Set.
        issuer: the one `iss` that is right, byte for byte.
        client_id: who asked.
        nonce: what was sent with the authorization request.
        now: seconds since the epoch.

    Raises:
        UnknownKey, InvalidToken: it is no good.
    """
    header, claims = signed_jwt.verify(token, client_assertion.candidates(token, key_set), ALGORITHMS)
    _check_type(header)
    token_claims.check_issuer(claims, issuer)
    _check_audience(claims, client_id)
    _check_times(claims, now)
    _check_nonce(claims, nonce)
    return IdToken(_subject(claims), claims)


def _check_type(header: Mapping[str, Any]) -> None:
    """RFC 8725 §3.11: an access token (at+jwt) or a logout token (logout+jwt) proves no sign-in."""
    if str(header.get("typ", "JWT")).lower().removeprefix("application/") != "jwt":
        raise InvalidToken("the token is a JWT for something else (typ)")


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    """Rules 3 to 5: it is for us, and where it is for others too, it was made for us (azp)."""
    audiences = token_claims.audiences(claims)
    if client_id not in audiences:
        raise InvalidToken("the token is for another client (aud)")
    if claims.get("azp", client_id) != client_id or (len(audiences) > 1 and "azp" not in claims):
        raise InvalidToken("the token was made for another client (azp)")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    token_claims.check_times(claims, now, LEEWAY)
    if now - signed_jwt.seconds(claims, "iat") > MAX_AGE + LEEWAY:
        raise InvalidToken("the token was issued too long ago (iat)")


def _check_nonce(claims: Mapping[str, Any], nonce: str) -> None:
    """Rule 11: it answers this request of this browser, and not another one."""
    claimed = claims.get("nonce")
    if not isinstance(claimed, str) or not hmac.compare_digest(claimed.encode(errors="replace"), nonce.encode()):
        raise InvalidToken("the token answers another request (nonce)")


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise InvalidToken("the token lacks a usable sub")
    return subject
