"""Token revocation (RFC 7009): a client ends an access token of its own, or by a refresh token the whole grant.

Who verifies access tokens alone, without asking /introspect, learns nothing of it: there they live until they expire.
"""

from starlette.responses import Response

from garrison.authserver import client_auth, own_tokens, refresh_values
from garrison.authserver.context import Exchange
from garrison.authserver.forms import read_form, required
from garrison.authserver.records import Client
from garrison.authserver.stores.access_tokens import revoke_access_token
from garrison.authserver.stores.families import revoke_family
from garrison.base.events import Kind
from garrison.oauth.errors import InvalidClient, InvalidGrant


async def endpoint(exchange: Exchange) -> Response:
    form = await read_form(exchange.request, exchange.settings.max_form_bytes)
    form.check_unrepeated()
    try:
        client = await client_auth.authenticate(exchange, form)
    except InvalidClient as error:
        await exchange.note(Kind.CLIENT_REFUSED, reason=error.description, detail=error.detail or None)
        raise
    await _revoke(exchange, client, required(form, "token"))
    return Response(status_code=200)


async def _revoke(exchange: Exchange, client: Client, value: str) -> None:
    """An unknown token is as good as revoked (§2.2)."""
    token = await refresh_values.find(exchange, value)
    if token is None:
        await _revoke_access_token(exchange, client, value)
        return
    if token.family.client_id != client.client_id:
        raise InvalidGrant("the token was issued to another client")
    if await revoke_family(exchange.store, token.family.id, exchange.now):
        await exchange.record(
            Kind.TOKEN_REVOKED,
            subject=token.family.username,
            client_id=client.client_id,
            reason="by its client",
            family=token.family.id,
        )


async def _revoke_access_token(exchange: Exchange, client: Client, value: str) -> None:
    token = own_tokens.unexpired(exchange, value)
    if token is None:
        return
    if token.client_id != client.client_id:
        raise InvalidGrant("the token was issued to another client")
    if await revoke_access_token(exchange.store, token.jti, token.expires_at):
        await exchange.record(
            Kind.TOKEN_REVOKED,
            subject=token.subject,
            client_id=client.client_id,
            reason="by its client",
            jti=token.jti,
        )
