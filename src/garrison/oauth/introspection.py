"""RFC 7662: asking an issuer what a token is worth, in a pair: `introspection_request` builds, `process_introspection`
judges. Only a clear yes that fits is one; whatever the answer leaves open is a no.
"""

from collections.abc import Mapping
from typing import Any

from garrison.oauth import token_claims
from garrison.oauth.basic import render_basic
from garrison.oauth.errors import InvalidToken


def introspection_request(token: str, client_id: str, client_secret: str) -> tuple[dict[str, str], dict[str, str]]:
    """The form and the headers of a request (§2.1), authenticated by client_secret_basic (RFC 6749 §2.3.1)."""
    form = {"token": token, "token_type_hint": "access_token"}
    return form, {"authorization": render_basic(client_id, client_secret), "accept": "application/json"}


def process_introspection(
    answer: Mapping[str, Any],
    signed: Mapping[str, Any],
    *,
    issuer: str,
    audience: str,
    now: float,
    leeway: int,
    insecure_absent_audience: bool = False,
) -> dict[str, Any]:
    """Judge a whole `answer` (§2.2), as the claims of an access token.

    Args:
        answer: the JSON object.
        signed: the claims of the token itself, if it is a JWT that was verified; they stand where the answer is silent.
        issuer: who must have issued the token, where the answer says.
        audience: what must be in `aud`.
        now: seconds since the epoch.
        leeway: seconds that clocks may differ by, at most 60.
        insecure_absent_audience: whether no `aud` will do.

    Returns:
        What the answer and the token say together.

    Raises:
        InvalidToken: the token is not active (exactly `true`), or is not one that may be used here and now.
    """
    if answer.get("active") is not True:
        raise InvalidToken("the token is not active")
    token_claims.check_kind(answer)
    claims = {**signed, **answer}
    if "iss" in claims:
        token_claims.check_issuer(claims, issuer)
    if "aud" in claims or not insecure_absent_audience:
        token_claims.check_audience(claims, audience)
    if str(claims.get("token_type", "Bearer")).lower() != "bearer":
        raise InvalidToken("the token is not a bearer token (token_type)")
    token_claims.check_times(claims, now, leeway)
    token_claims.check_not_bound(claims)
    return claims
