"""Dynamic client registration (RFC 7591 §3): off unless set; whoever registers is asked about every time.

What is registered here is what the client says of itself, cut to what a client that nobody vouches for may have. There
is no management of it (RFC 7592): who wants something else registers anew.
"""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from garrison.authserver import backoff, forms, seal
from garrison.authserver.context import Exchange
from garrison.authserver.granting import open_scope
from garrison.authserver.records import CLIENT_PREFIX, Client
from garrison.authserver.registration import as_method
from garrison.authserver.stores.clients import save_client
from garrison.base.events import Kind
from garrison.oauth import client_metadata, scope
from garrison.oauth.errors import InvalidClientMetadata, InvalidToken, OAuthError

_CREATED = 201
_NAMELESS = "An application without a name"


async def endpoint(exchange: Exchange) -> Response:
    _is_on(exchange)
    try:
        _may_register(exchange)
        async with backoff.by_address(exchange, "registration", exchange.settings.registrations_per_address):
            metadata = await forms.read_json(exchange.request, exchange.settings.max_form_bytes)
            client = _client(exchange, metadata)
    except OAuthError as error:
        await exchange.note(Kind.CLIENT_REFUSED, reason=error.description, error=error.error)
        raise
    secret = seal.new_secret() if client.has_secret else None
    await exchange.record(Kind.CLIENT_ADDED, client_id=client.client_id, reason="registered itself")
    await save_client(exchange.store, client, seal.hashed(secret) if secret else None)
    return JSONResponse(_information(client, secret), status_code=_CREATED)


def _is_on(exchange: Exchange) -> None:
    if not exchange.settings.registration:
        raise HTTPException(404)


def _may_register(exchange: Exchange) -> None:
    """The initial access token of §3, if there is one."""
    wanted = exchange.settings.registration_token
    if wanted is None:
        return
    scheme, _, shown = exchange.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not seal.same_mac(seal.hashed(shown.strip()), seal.hashed(wanted)):
        raise InvalidToken("registration needs the initial access token that the operator gives out")


def _client(exchange: Exchange, document: Any) -> Client:
    metadata = client_metadata.check_registration(document)
    if "software_statement" in document:
        raise InvalidClientMetadata("a software_statement means nothing here")
    return Client(
        client_id=CLIENT_PREFIX + seal.new_id(),
        name=metadata.name or _NAMELESS,
        method=as_method(metadata.method),
        grants=metadata.grants,
        scope=open_scope(exchange.settings, metadata.scope),
        redirect_uris=metadata.redirect_uris,
        resources=(),
        disabled=False,
        created_at=exchange.now,
        jwks=metadata.jwks,
        jwks_uri=metadata.jwks_uri,
        source="registration",
    )


def _information(client: Client, secret: str | None) -> dict[str, Any]:
    """§3.2.1: everything as it was registered, which may be less than was asked for."""
    information: dict[str, Any] = {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created_at),
        "client_name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "token_endpoint_auth_method": client.method,
        "grant_types": sorted(client.grants),
        "response_types": ["code"],
        "scope": scope.render(client.scope),
    }
    if client.jwks is not None:
        information["jwks"] = client.jwks
    if client.jwks_uri:
        information["jwks_uri"] = client.jwks_uri
    if secret:
        information |= {"client_secret": secret, "client_secret_expires_at": 0}
    return information
