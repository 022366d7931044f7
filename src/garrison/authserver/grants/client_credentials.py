"""RFC 6749 §4.4: a confidential client acts for itself; no refresh token (§4.4.3), and `sub` is the client_id."""

from garrison.authserver import granting, issue
from garrison.authserver.context import Exchange
from garrison.authserver.forms import Parameters
from garrison.authserver.records import Client
from garrison.oauth.errors import InvalidScope, UnauthorizedClient


async def grant(exchange: Exchange, form: Parameters, client: Client) -> issue.Grant:
    _is_confidential(client)
    settings = exchange.settings
    resource = granting.resource_for(settings, client, form.get("resource"))
    granted = issue.Grant(
        grant_type="client_credentials",
        client_id=client.client_id,
        subject=client.client_id,
        scope=_scope(granting.ceiling(settings, client, resource), form.get("scope")),
        resource=resource,
    )
    await issue.record(exchange, granted)
    return granted


def _is_confidential(client: Client) -> None:
    if not client.confidential:
        raise UnauthorizedClient("client_credentials is for confidential clients only")


def _scope(possible: frozenset[str], requested: str | None) -> frozenset[str]:
    """All of what is asked for or nothing: there is no user to show a smaller grant to."""
    asked = granting.asked_for(requested) or possible
    if not asked or not asked <= possible:
        raise InvalidScope("this client has not all of this scope at this resource")
    return asked
