"""The token endpoint (RFC 6749 §3.2): a list of checks, then the grant, then the answer."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response

from garrison.authserver import client_auth, issue
from garrison.authserver.context import Exchange
from garrison.authserver.forms import Parameters, read_form, required
from garrison.authserver.grants import authorization_code, client_credentials, refresh_token
from garrison.authserver.records import Client
from garrison.base.events import Kind
from garrison.oauth.errors import InvalidClient, OAuthError, UnauthorizedClient, UnsupportedGrantType

GRANTS: Mapping[str, Callable[[Exchange, Parameters, Client], Awaitable[issue.Grant]]] = {
    "authorization_code": authorization_code.redeem,
    "refresh_token": refresh_token.refresh,
    "client_credentials": client_credentials.grant,
}


async def endpoint(exchange: Exchange) -> Response:
    client_id = ""
    try:
        form = await read_form(exchange.request, exchange.settings.max_form_bytes)
        form.check_unrepeated()
        client = await client_auth.authenticate(exchange, form)
        client_id = client.client_id
        grant_type = _known_grant_type(form)
        _client_may_use(client, grant_type)
        grant = await GRANTS[grant_type](exchange, form, client)
    except OAuthError as error:
        await refused(exchange, client_id, error)
        raise
    return await issue.response(exchange, grant)


async def refused(exchange: Exchange, client_id: str, error: OAuthError) -> None:
    kind = Kind.CLIENT_REFUSED if isinstance(error, InvalidClient) else Kind.TOKEN_REFUSED
    await exchange.note(
        kind, client_id=client_id, reason=error.description, error=error.error, detail=error.detail or None
    )


def _known_grant_type(form: Parameters) -> str:
    grant_type = required(form, "grant_type")
    if grant_type not in GRANTS:
        raise UnsupportedGrantType(f"grant_type must be one of {', '.join(GRANTS)}")
    return grant_type


def _client_may_use(client: Client, grant_type: str) -> None:
    if grant_type not in client.grants:
        raise UnauthorizedClient(f"this client is not registered for {grant_type}")
