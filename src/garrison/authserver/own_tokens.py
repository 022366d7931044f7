"""Access tokens that come back to their issuer, to be revoked (RFC 7009) or looked at (RFC 7662)."""

from garrison.authserver.context import Exchange
from garrison.authserver.stores.access_tokens import access_token_stands
from garrison.oauth import access_token, jwks
from garrison.oauth.access_token import AccessToken
from garrison.oauth.errors import InvalidToken


def unexpired(exchange: Exchange, value: str) -> AccessToken | None:
    """The access token, if we have issued it and it has not expired; to the second, since the clock is our own."""
    keys = jwks.by_kid(jwks.public_set(exchange.server.keys.published(exchange.now)))
    try:
        token = access_token.verify_as_issuer(value, keys, issuer=exchange.settings.issuer, now=exchange.now)
    except InvalidToken:
        return None
    return token if exchange.now < token.expires_at else None


async def standing(exchange: Exchange, value: str) -> AccessToken | None:
    """The same, if besides nothing has ended it before its time."""
    token = unexpired(exchange, value)
    if token is None:
        return None
    stands = await access_token_stands(
        exchange.store,
        jti=token.jti,
        client_id=token.client_id,
        subject=token.subject,
        family_id=str(token.claims.get("grant_id", "")),
    )
    return token if stands else None
