"""RFC 9068 §2.2: what the claims of an access token say, in that RFC's shape or in another issuer's.

The same judgement serves the claims of a verified JWT and the answer of a token introspection (RFC 7662 §2.2), which
uses the same names. Nothing here looks at a signature: whoever calls has a reason to believe the claims.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from garrison.oauth import scope as scope_rfc6749
from garrison.oauth import signed_jwt
from garrison.oauth.errors import InvalidScope, InvalidToken

TYPE = "at+jwt"
MAX_LEEWAY = 60
_OTHERS_CLAIMS = ("nonce", "at_hash", "c_hash", "s_hash", "events")
"""What only ID tokens (OpenID Connect Core §2, §3.3.2.11) and security events such as logout tokens (RFC 8417) have."""
_ACCESS_TOKEN_USES = ("access", "access_token")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A verified access token (§2.2). Times are seconds since the epoch; `jti` is empty where the issuer gives none."""

    issuer: str
    subject: str
    client_id: str
    audience: tuple[str, ...]
    scopes: frozenset[str]
    issued_at: int
    expires_at: int
    jti: str
    claims: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenShape:
    """How one issuer writes its access tokens; by default as RFC 9068 says.

    Attributes:
        types: accepted `typ` header values, in lower case and without `application/`.
        absent_type: whether a token without `typ` is accepted.
        scope_claims: where scopes are; the first of these that a token has counts. `scope` is a string (RFC 9068
            §2.2.3), any other a string or a list.
        client_id_claims: where the client's id is; the first of these that a token has counts.
    """

    types: Sequence[str] = (TYPE,)
    absent_type: bool = False
    scope_claims: Sequence[str] = ("scope",)
    client_id_claims: Sequence[str] = ("client_id",)

    def is_strict(self) -> bool:
        """Whether all of the issuer's access tokens say that they are RFC 9068's."""
        return tuple(self.types) == (TYPE,) and not self.absent_type


RFC9068 = TokenShape()


def check_type(header: Mapping[str, Any], claims: Mapping[str, Any], shape: TokenShape) -> None:
    """Refuse what is no access token (RFC 9068 §4, RFC 8725 §3.11).

    Raises:
        InvalidToken: the `typ` is not one of the issuer's access tokens or, where that tells little, the claims are
            those of another kind of token.
    """
    typ = header.get("typ")
    named = str(typ or "").lower().removeprefix("application/")
    if named == TYPE and TYPE in shape.types:
        return
    if not (shape.absent_type if typ is None else named in shape.types):
        raise InvalidToken("the token is not an access token (typ)")
    check_kind(claims)


def check_kind(claims: Mapping[str, Any]) -> None:
    """Refuse ID tokens, refresh tokens and the like by their claims, where no `at+jwt` tells them from access tokens.

    Keycloak names the kind in a claim `typ`; Amazon Cognito and Ory Hydra in `token_use`.

    Raises:
        InvalidToken: it is of another kind.
    """
    if any(name in claims for name in _OTHERS_CLAIMS):
        raise InvalidToken("the token is not an access token (it has claims of another kind)")
    typ, use = claims.get("typ", "Bearer"), claims.get("token_use", "access")
    if str(typ).lower() != "bearer" or use not in _ACCESS_TOKEN_USES:
        raise InvalidToken("the token is not an access token (by its own claims)")


def check_issuer(claims: Mapping[str, Any], issuer: str) -> None:
    if claims.get("iss") != issuer:
        raise InvalidToken("the token is of another issuer")


def check_audience(claims: Mapping[str, Any], audience: str) -> None:
    if audience not in audiences(claims):
        raise InvalidToken("the token is for another resource (aud)")


def check_not_bound(claims: Mapping[str, Any]) -> None:
    """RFC 7800: a token bound to a key proves nothing in the hands of a plain bearer."""
    if "cnf" in claims:
        raise InvalidToken("the token is bound to a key and can't be used as a bearer token")


def check_times(claims: Mapping[str, Any], now: float, leeway: int) -> None:
    """RFC 7519 §4.1.4 to §4.1.6; `leeway` in seconds, of which at most 60 count."""
    leeway = min(leeway, MAX_LEEWAY)
    expires, not_before, issued = signed_jwt.seconds(claims, "exp"), claims.get("nbf", 0), claims.get("iat", 0)
    if now >= expires + leeway:
        raise InvalidToken("the token has expired")
    if not signed_jwt.is_number(issued):
        raise InvalidToken("the token lacks a valid iat")
    if not signed_jwt.is_number(not_before) or now + leeway < not_before or now + leeway < issued:
        raise InvalidToken("the token is not valid yet")


def check_complete(claims: Mapping[str, Any], shape: TokenShape) -> None:
    """The claims that a JWT of this shape has beside those which `access_token` asks of all (RFC 9068 §2.2)."""
    if "iat" not in claims:
        raise InvalidToken("the token lacks a valid iat")
    if shape.is_strict() and not claims.get("jti"):
        raise InvalidToken("the token lacks sub, client_id or jti")


def access_token(claims: Mapping[str, Any], shape: TokenShape, issuer: str) -> AccessToken:
    """The access token that `claims` describe.

    Raises:
        InvalidToken: the subject or the client is missing, or a claim is malformed.
    """
    subject, client_id = claims.get("sub"), _first(claims, shape.client_id_claims)
    jti = claims.get("jti", "")
    if not all(isinstance(value, str) for value in (subject, client_id, jti)) or not subject or not client_id:
        raise InvalidToken("the token lacks sub, client_id or jti")
    return AccessToken(
        issuer=issuer,
        subject=subject,
        client_id=client_id,
        audience=audiences(claims),
        scopes=_scopes(claims, shape),
        issued_at=int(claims.get("iat", 0)),
        expires_at=int(claims["exp"]),
        jti=jti,
        claims=claims,
    )


def audiences(claims: Mapping[str, Any]) -> tuple[str, ...]:
    aud = claims.get("aud")
    values = aud if isinstance(aud, list) else [aud]
    return tuple(value for value in values if isinstance(value, str))


def _first(claims: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((claims[name] for name in names if name in claims), None)


def _scopes(claims: Mapping[str, Any], shape: TokenShape) -> frozenset[str]:
    name = next((name for name in shape.scope_claims if name in claims), "scope")
    value = claims.get(name, "")
    # One by one, as lists of permissions are longer than any scope that somebody asks for.
    values = value if isinstance(value, list) and name != "scope" else [value]
    if not all(isinstance(item, str) for item in values) or (value is values and any(" " in item for item in values)):
        raise InvalidToken("the token's scope is malformed")
    try:
        return frozenset().union(*(scope_rfc6749.parse(item) for item in values))
    except InvalidScope as error:
        raise InvalidToken("the token's scope is malformed") from error
