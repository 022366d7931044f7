"""RFC 9068: JWT access tokens, made and judged in one place (RFC 7519 for the claims, RFC 8725 for the care).

A token is verified with a key that the caller has for its issuer, by the algorithm that belongs to that key, and only
for the audience that the caller is. There is no way to read a token's claims without that, but `peek_issuer`, which
only chooses whose keys to use.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import import_key

from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.errors import InvalidScope, InvalidToken, UnknownKey
from garrison.oauth.jwks import SigningKey

TYPE = "at+jwt"
ALGORITHMS = ("RS256", "ES256", "EdDSA")
MAX_LENGTH = 16_384
"""Characters of a token that are looked at; a longer one is refused unread."""
MAX_LEEWAY = 60
_KEY_TYPES = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
MIN_RSA_BITS = 2048
_FAR_FUTURE = 1e15  # beyond it a float no longer counts seconds exactly


class _Registry(jws.JWSRegistry):
    """joserfc's registry without its warning about the name EdDSA (RFC 9864), which is what issuers still write."""

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()) or name not in self.algorithms:
            raise UnsupportedAlgorithmError(f"algorithm {name} is not accepted")
        return self.algorithms[name]


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A verified access token (§2.2). Times are seconds since the epoch."""

    issuer: str
    subject: str
    client_id: str
    audience: tuple[str, ...]
    scopes: frozenset[str]
    issued_at: int
    expires_at: int
    jti: str
    claims: Mapping[str, Any] = field(repr=False)


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
    return sign(key, TYPE, claims)


def sign(key: SigningKey, typ: str, claims: Mapping[str, Any]) -> str:
    """`claims` as a JWT of type `typ`, signed by `key` (RFC 7515 §7.1)."""
    header = {"typ": typ, "alg": key.alg, "kid": key.kid}
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

    Raises:
        UnknownKey: its kid is not among `keys`; the issuer may have a new one.
        InvalidToken: anything else is wrong with it.
    """
    header, payload = _verified(token, keys, algorithms)
    if str(header.get("typ", "")).lower().removeprefix("application/") != TYPE:
        raise InvalidToken("the token is not an access token (typ)")
    claims = _claims(payload)
    _check_issuer_and_audience(claims, issuer, audience)
    _check_times(claims, now, min(leeway, MAX_LEEWAY))
    if "cnf" in claims:
        # RFC 7800: a token bound to a key proves nothing in the hands of a plain bearer.
        raise InvalidToken("the token is bound to a key and can't be used as a bearer token")
    return _access_token(claims)


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
        signed = jws.extract_compact(token.encode("ascii"))
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


def _check_issuer_and_audience(claims: Mapping[str, Any], issuer: str, audience: str) -> None:
    if claims.get("iss") != issuer:
        raise InvalidToken("the token is of another issuer")
    if audience not in _audience(claims):
        raise InvalidToken("the token is for another resource (aud)")


def _check_times(claims: Mapping[str, Any], now: float, leeway: int) -> None:
    expires, issued, not_before = _seconds(claims, "exp"), _seconds(claims, "iat"), claims.get("nbf", 0)
    if now >= expires + leeway:
        raise InvalidToken("the token has expired")
    if not _is_number(not_before) or now + leeway < not_before or now + leeway < issued:
        raise InvalidToken("the token is not valid yet")


def _access_token(claims: dict[str, Any]) -> AccessToken:
    """The claims that §2.2 requires, each of its type."""
    texts = {name: claims.get(name) for name in ("sub", "client_id", "jti")}
    if not all(isinstance(value, str) and value for value in texts.values()):
        raise InvalidToken("the token lacks sub, client_id or jti")
    try:
        scopes = scope_rfc6749.parse(claims.get("scope", ""))
    except (InvalidScope, AttributeError) as error:
        raise InvalidToken("the token's scope is malformed") from error
    return AccessToken(
        issuer=claims["iss"],
        subject=claims["sub"],
        client_id=claims["client_id"],
        audience=_audience(claims),
        scopes=scopes,
        issued_at=int(claims["iat"]),
        expires_at=int(claims["exp"]),
        jti=claims["jti"],
        claims=claims,
    )


def _audience(claims: Mapping[str, Any]) -> tuple[str, ...]:
    aud = claims.get("aud")
    values = aud if isinstance(aud, list) else [aud]
    return tuple(value for value in values if isinstance(value, str))


def _is_number(value: object) -> bool:
    """A finite number; JSON's `true` is an int to Python, and no NumericDate."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR_FUTURE


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if not _is_number(value):
        raise InvalidToken(f"the token lacks a valid {name}")
    return float(value)  # type: ignore[arg-type]  # _is_number has looked
