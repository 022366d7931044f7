"""RFC 9068: JWT access tokens, made and judged in one place (RFC 7519 for the claims, RFC 8725 for the care).

A token is verified with a key that the caller has for its issuer, by the algorithm that belongs to that key, and only
for the audience that the caller is. There is no way to read a token's claims without that, but `peek_issuer`, which
only chooses whose keys to use.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import import_key

from garrison.oauth import scope as scope_rfc6749
from garrison.oauth import token_claims
from garrison.oauth.errors import InvalidToken, UnknownKey
from garrison.oauth.jwks import SigningKey
from garrison.oauth.token_claims import RFC9068, TYPE, AccessToken, TokenShape

__all__ = ["ALGORITHMS", "KNOWN_ALGORITHMS", "MAX_LENGTH", "AccessToken", "issue", "peek_issuer", "verify"]

ALGORITHMS = ("RS256", "ES256", "EdDSA")
MAX_LENGTH = 16_384
"""Characters of a token that are looked at; a longer one is refused unread."""
MAX_HEADER = 8192
"""Characters of a token's header: room for a chain of certificates (x5c), which some issuers send along."""
_KEY_TYPES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
KNOWN_ALGORITHMS = frozenset(_KEY_TYPES)
"""Every algorithm that may be configured: RFC 7518 §3's asymmetric ones, RFC 8037's and RFC 9864's."""
MIN_RSA_BITS = 2048


class _Registry(jws.JWSRegistry):
    """joserfc's registry without its warning about the name EdDSA (RFC 9864), which is what issuers still write."""

    max_header_length = MAX_HEADER

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()) or name not in self.algorithms:
            raise UnsupportedAlgorithmError(f"algorithm {name} is not accepted")
        return self.algorithms[name]


_UNVERIFIED = _Registry(algorithms=())
"""Takes a token apart, up to its bounds, and verifies none."""


def issue(
    key: SigningKey,
    *,
    issuer: str,
    subject: str,
    client_id: str,
    audience: str,
    scope: Iterable[str],
    now: float,
    lifetime: int,
    jti: str,
) -> str:
    """A signed token with the claims of §2.2; `lifetime` in seconds."""
    claims = {
        "iss": issuer,
        "sub": subject,
        "client_id": client_id,
        "aud": audience,
        "scope": scope_rfc6749.render(scope),
        "iat": int(now),
        "exp": int(now) + lifetime,
        "jti": jti,
    }
    header = {"typ": TYPE, "alg": key.alg, "kid": key.kid}
    return jws.serialize_compact(header, json.dumps(claims), key.private, registry=_Registry(algorithms=[key.alg]))


def verify(
    token: str,
    keys: Mapping[str, Mapping[str, Any]],
    *,
    issuer: str,
    audience: str,
    now: float,
    leeway: int = 30,
    algorithms: Sequence[str] = ALGORITHMS,
    shape: TokenShape = RFC9068,
) -> AccessToken:
    """Judge `token` as its resource server must (§4).

    Args:
        token: the compact JWS.
        keys: the issuer's public JWKs by kid (`jwks.by_kid`).
        issuer: the one `iss` that is right, byte for byte.
        audience: the resource that asks; it must be in `aud`.
        now: seconds since the epoch.
        leeway: seconds that clocks may differ by, at most 60.
        algorithms: what the resource accepts; never `none`, never symmetric.
        shape: how the issuer writes its access tokens.

    Raises:
        UnknownKey: its kid is not among `keys`; the issuer may have a new one.
        InvalidToken: anything else is wrong with it.
    """
    header, payload = _verified(token, keys, algorithms)
    claims = _claims(payload)
    token_claims.check_type(header, claims, shape)
    token_claims.check_issuer(claims, issuer)
    token_claims.check_audience(claims, audience)
    token_claims.check_complete(claims, shape)
    token_claims.check_times(claims, now, leeway)
    token_claims.check_not_bound(claims)
    return token_claims.access_token(claims, shape, issuer)


def peek_issuer(token: str) -> str | None:
    """The `iss` that an unverified token claims, if any: only for choosing among configured issuers."""
    try:
        _, payload, _ = token[:MAX_LENGTH].split(".")
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None


def _verified(
    token: str, keys: Mapping[str, Mapping[str, Any]], algorithms: Sequence[str]
) -> tuple[Mapping[str, Any], bytes]:
    """Header and payload of a token whose signature holds, by a key that is ours to trust (RFC 8725 §3.1 to 3.5)."""
    if len(token) > MAX_LENGTH or not token.isascii():
        raise InvalidToken("the token is malformed")
    try:
        signed = jws.extract_compact(token.encode("ascii"), registry=_UNVERIFIED)
    except (JoseError, ValueError, KeyError, RecursionError) as error:
        raise InvalidToken("the token is malformed", detail=type(error).__name__) from error
    header: Any = signed.headers()
    if not isinstance(header, dict):
        raise InvalidToken("the token is malformed")
    if "crit" in header or "b64" in header:
        raise InvalidToken("the token asks for an extension that is not known (crit)")
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or alg not in algorithms or alg not in _KEY_TYPES:
        raise InvalidToken("the token's algorithm is not accepted")
    if not isinstance(kid, str):
        raise InvalidToken("the token names no key (kid)")
    if kid not in keys:
        raise UnknownKey(kid)
    jwk = keys[kid]
    if jwk.get("kty") != _KEY_TYPES[alg] or jwk.get("alg", alg) != alg:
        raise InvalidToken("the token's algorithm is not its key's")
    try:
        key = import_key(dict(jwk))
        if getattr(key.raw_value, "key_size", MIN_RSA_BITS) < MIN_RSA_BITS and alg.startswith(("RS", "PS")):
            raise InvalidToken("the token's key is too short")
        # RFC 7515 §4: header parameters that are not understood are ignored; `crit` was refused above.
        valid = jws.validate_compact(signed, key, registry=_Registry(algorithms=[alg], strict_check_header=False))
    except (JoseError, ValueError, KeyError) as error:
        raise InvalidToken("the token's signature does not verify", detail=type(error).__name__) from error
    if not valid:
        raise InvalidToken("the token's signature does not verify")
    return header, signed.payload


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidToken("the token's claims are malformed") from error
    if not isinstance(claims, dict):
        raise InvalidToken("the token's claims are malformed")
    return claims
