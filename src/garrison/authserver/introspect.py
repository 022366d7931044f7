"""Token introspection (RFC 7662): whether a token stands at this moment, told to those whom it concerns alone.

An access token is told of to the resource server that it is for (a client registered with `introspects`); a refresh
token to the client that owns it, never to a resource server, which could take it for an access token (§4).
To everybody else, and of everything else, the answer is the same: `{"active": false}`.
"""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from garrison.authserver import client_auth, own_tokens, refresh_values
from garrison.authserver.context import Exchange
from garrison.authserver.forms import read_form, required
from garrison.authserver.records import Client
from garrison.authserver.stores.users import find_user
from garrison.base.events import Kind
from garrison.oauth import resource, scope
from garrison.oauth.errors import InvalidClient

INACTIVE: Mapping[str, Any] = {"active": False}


async def endpoint(exchange: Exchange) -> Response:
    form = await read_form(exchange.request, exchange.settings.max_form_bytes)
    form.check_unrepeated()
    try:
        client = await client_auth.authenticate(exchange, form)
        _is_confidential(client)
    except InvalidClient as error:
        await exchange.note(Kind.CLIENT_REFUSED, reason=error.description, detail=error.detail or None)
        raise
    token = required(form, "token")  # a token_type_hint would only save us a look
    answer = await _access_token(exchange, client, token) or await _refresh_token(exchange, client, token)
    return JSONResponse(answer or INACTIVE)


def _is_confidential(client: Client) -> None:
    """§2.1: else anybody could try out tokens here."""
    if not client.confidential:
        raise InvalidClient("introspection is for confidential clients only")


async def _access_token(exchange: Exchange, client: Client, value: str) -> Mapping[str, Any] | None:
    token = await own_tokens.standing(exchange, value)
    if token is None or not any(resource.same(a, b) for a in client.introspects for b in token.audience):
        return None
    return {
        "active": True,
        "token_type": "Bearer",
        "iss": token.issuer,
        "sub": token.subject,
        "aud": list(token.audience) if len(token.audience) > 1 else token.audience[0],
        "client_id": token.client_id,
        "scope": scope.render(token.scopes),
        "iat": token.issued_at,
        "exp": token.expires_at,
        "jti": token.jti,
    }


async def _refresh_token(exchange: Exchange, client: Client, value: str) -> Mapping[str, Any] | None:
    token = await refresh_values.find(exchange, value)
    if token is None or token.family.client_id != client.client_id:
        return None
    family, expires_at = token.family, min(token.expires_at, token.family.expires_at)
    found = await find_user(exchange.store, family.username)
    if token.used or family.revoked or exchange.now >= expires_at or found is None or found[0].disabled:
        return None
    return {
        "active": True,
        "iss": exchange.settings.issuer,
        "sub": family.username,
        "aud": family.resource,
        "client_id": family.client_id,
        "scope": scope.render(family.scope),
        "exp": int(expires_at),
    }
