"""RFC 9068: JWT access tokens, made and judged in one place (RFC 7519 for the claims, RFC 8725 for the care).

A token is verified with a key that the caller has for its issuer, by the algorithm that belongs to that key, and only
for the audience that the caller is. There is no way to read a token's claims without that, but `peek_issuer`, which
only chooses whose keys to use.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from garrison.oauth import scope as scope_rfc6749
from garrison.oauth import signed_jwt
from garrison.oauth.errors import InvalidScope, InvalidToken
from garrison.oauth.jwks import SigningKey

TYPE = "at+jwt"
ALGORITHMS = ("RS256", "ES256", "EdDSA")
MAX_LENGTH = signed_jwt.MAX_LENGTH
MAX_LEEWAY = 60


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
    grant_id: str = "",
) -> str:
    """A signed token with the claims of §2.2; `lifetime` in seconds, `grant_id` names what it comes of, if anything."""
    claims = {
        "iss": issuer,
        "sub": subject,
        "client_id": client_id,
        "aud": audience,
        "scope": scope_rfc6749.render(scope),
        "iat": int(now),
        "exp": int(now) + lifetime,
        "jti": jti,
        **({"grant_id": grant_id} if grant_id else {}),
    }
    return signed_jwt.sign(key, claims, typ=TYPE)


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
    claims = _verified(token, keys, algorithms, issuer)
    if audience not in _audience(claims):
        raise InvalidToken("the token is for another resource (aud)")
    _check_times(claims, now, min(leeway, MAX_LEEWAY))
    if "cnf" in claims:
        # RFC 7800: a token bound to a key proves nothing in the hands of a plain bearer.
        raise InvalidToken("the token is bound to a key and can't be used as a bearer token")
    return _access_token(claims)


def verify_as_issuer(
    token: str, keys: Mapping[str, Mapping[str, Any]], *, issuer: str, now: float, leeway: int = 30
) -> AccessToken:
    """The token, if it is one that `issuer` itself has issued and that has not expired, whoever it is for.

    For the issuer's own endpoints (RFC 7009, RFC 7662) alone: a resource server uses `verify`.

    Raises:
        UnknownKey, InvalidToken: it isn't.
    """
    claims = _verified(token, keys, ALGORITHMS, issuer)
    _check_times(claims, now, min(leeway, MAX_LEEWAY))
    return _access_token(claims)


def peek_issuer(token: str) -> str | None:
    """The `iss` that an unverified token claims, if any: only for choosing among configured issuers."""
    return signed_jwt.peek_claim(token, "iss")


def _verified(
    token: str, keys: Mapping[str, Mapping[str, Any]], algorithms: Sequence[str], issuer: str
) -> dict[str, Any]:
    """The claims of what `issuer` signed as an access token."""
    header, claims = signed_jwt.verify(token, keys, algorithms)
    if str(header.get("typ", "")).lower().removeprefix("application/") != TYPE:
        raise InvalidToken("the token is not an access token (typ)")
    if claims.get("iss") != issuer:
        raise InvalidToken("the token is of another issuer")
    return claims


def _check_times(claims: Mapping[str, Any], now: float, leeway: int) -> None:
    expires, issued = signed_jwt.seconds(claims, "exp"), signed_jwt.seconds(claims, "iat")
    not_before = claims.get("nbf", 0)
    if now >= expires + leeway:
        raise InvalidToken("the token has expired")
    if not signed_jwt.is_number(not_before) or now + leeway < not_before or now + leeway < issued:
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
