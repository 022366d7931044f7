"""RFC 7523 §3: the JWT by which a client proves to hold its private key (private_key_jwt, OpenID Connect Core §9).

`aud` must be the issuer and nothing else, as the revision of RFC 7523 wants it: an assertion that is good at two
servers can be carried from one to the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from garrison.oauth import jwks, signed_jwt
from garrison.oauth.errors import InvalidClientMetadata, InvalidToken

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
MAX_LIFETIME = 300
"""Seconds that an assertion may be good for."""
LEEWAY = 30
"""Seconds that the client's clock may differ by."""
MAX_KEYS = 20
_JWT_TYPES = frozenset({"jwt", "client-authentication+jwt"})


@dataclass(frozen=True)
class ClientAssertion:
    """A verified assertion: its `jti`, which must be new, and when it needn't be remembered any more."""

    jti: str
    forgotten_at: float


def verify(
    assertion: str, keys: Mapping[str, Mapping[str, Any]], *, client_id: str, issuer: str, now: float
) -> ClientAssertion:
    """Judge `assertion` as the authorization server `issuer` must; that its jti is new is for the caller to see to.

    Args:
        assertion: the compact JWS.
        keys: those of `client_id`'s public keys that it can be signed with (`candidates`).
        client_id: who it must come from.
        issuer: whom it must be made for.
        now: seconds since the epoch.

    Raises:
        UnknownKey, InvalidToken: it is no good.
    """
    header, claims = signed_jwt.verify(assertion, keys, ALGORITHMS)
    if str(header.get("typ", "jwt")).lower().removeprefix("application/") not in _JWT_TYPES:
        raise InvalidToken("the assertion is a JWT for something else (typ)")
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise InvalidToken("iss and sub of the assertion must both be the client_id")
    if claims.get("aud") not in (issuer, [issuer]):
        raise InvalidToken("aud of the assertion must be the issuer of this server, and nothing else")
    expires = _check_times(claims, now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise InvalidToken("the assertion lacks jti")
    return ClientAssertion(jti, expires + LEEWAY)


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    expires, issued = signed_jwt.seconds(claims, "exp"), signed_jwt.seconds(claims, "iat")
    not_before = claims.get("nbf", 0)
    if now >= expires + LEEWAY:
        raise InvalidToken("the assertion has expired")
    if not signed_jwt.is_number(not_before) or now + LEEWAY < not_before or now + LEEWAY < issued:
        raise InvalidToken("the assertion is not valid yet")
    if expires - issued > MAX_LIFETIME:
        raise InvalidToken(f"the assertion is good for longer than {MAX_LIFETIME} seconds")
    return expires


def peek_client_id(assertion: str) -> str:
    """Who an unverified assertion claims to come from: only for choosing whose keys to verify it with.

    Raises:
        InvalidToken: it doesn't say.
    """
    client_id = signed_jwt.peek_claim(assertion, "sub")
    if not client_id or not client_id.isascii() or not client_id.isprintable():  # RFC 6749 appendix A.1
        raise InvalidToken("the assertion is malformed, or lacks sub")
    return client_id


def candidates(assertion: str, document: Any) -> dict[str, dict[str, Any]]:
    """The keys of `document`, a JWK Set, by kid; for a JWT without a kid the only one that fits, named "".

    Raises:
        InvalidToken: it is malformed, or has no kid though several keys fit.
    """
    header = signed_jwt.peek_header(assertion)
    if "kid" in header:
        return jwks.by_kid(document)
    kty = signed_jwt.KEY_TYPES.get(str(header.get("alg")))
    fitting = [jwk for jwk in jwks.usable(document) if jwk["kty"] == kty]
    if len(fitting) != 1:
        raise InvalidToken("it names no key (kid), and there is not exactly one that fits")
    return {"": fitting[0]}


def check_jwks(document: Any) -> None:
    """Refuse a client's key set that could not be used, or that gives a secret away.

    Raises:
        InvalidClientMetadata: it is no JWK Set of 1 to 20 public keys.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS or not all(isinstance(key, dict) for key in keys):
        raise InvalidClientMetadata(f"jwks must be a JWK Set of 1 to {MAX_KEYS} keys")
    if any(jwks.is_secret(key) for key in keys):
        raise InvalidClientMetadata("jwks must hold public keys only: private or symmetric members were sent")
    if not jwks.usable(document):
        raise InvalidClientMetadata("jwks holds no key that signatures can be verified with")
