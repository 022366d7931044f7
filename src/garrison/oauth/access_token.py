"""RFC 9068: JWT access tokens, made and judged in one place (RFC 7519 for the claims, RFC 8725 for the care).

A token is verified with a key that the caller has for its issuer, by the algorithm that belongs to that key, and only
for the audience that the caller is. There is no way to read a token's claims without that, but `peek_issuer`, which
only chooses whose keys to use.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from garrison.oauth import scope as scope_rfc6749
from garrison.oauth import signed_jwt, token_claims
from garrison.oauth.jwks import SigningKey
from garrison.oauth.token_claims import RFC9068, TYPE, AccessToken, TokenShape

__all__ = ["ALGORITHMS", "KNOWN_ALGORITHMS", "MAX_LENGTH", "AccessToken", "issue", "peek_issuer", "verify"]

ALGORITHMS = ("RS256", "ES256", "EdDSA")
MAX_LENGTH = signed_jwt.MAX_LENGTH
KNOWN_ALGORITHMS = signed_jwt.KNOWN_ALGORITHMS


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
    header, claims = signed_jwt.verify(token, keys, algorithms)
    token_claims.check_type(header, claims, shape)
    token_claims.check_issuer(claims, issuer)
    token_claims.check_audience(claims, audience)
    token_claims.check_complete(claims, shape)
    token_claims.check_times(claims, now, leeway)
    token_claims.check_not_bound(claims)
    return token_claims.access_token(claims, shape, issuer)


def verify_as_issuer(
    token: str, keys: Mapping[str, Mapping[str, Any]], *, issuer: str, now: float, leeway: int = 30
) -> AccessToken:
    """The token, if it is one that `issuer` itself has issued and that has not expired, whoever it is for.

    For the issuer's own endpoints (RFC 7009, RFC 7662) alone: a resource server uses `verify`.

    Raises:
        UnknownKey, InvalidToken: it isn't.
    """
    header, claims = signed_jwt.verify(token, keys, ALGORITHMS)
    token_claims.check_type(header, claims, RFC9068)
    token_claims.check_issuer(claims, issuer)
    token_claims.check_complete(claims, RFC9068)
    token_claims.check_times(claims, now, leeway)
    return token_claims.access_token(claims, RFC9068, issuer)


def peek_issuer(token: str) -> str | None:
    """The `iss` that an unverified token claims, if any: only for choosing among configured issuers."""
    return signed_jwt.peek_claim(token, "iss")
