"""Client authentication (RFC 6749 §2.3): by the one method that the client is registered for, and really required."""

from dataclasses import dataclass

from garrison.authserver import seal
from garrison.authserver.context import Exchange
from garrison.authserver.forms import Parameters
from garrison.authserver.records import Client, Method
from garrison.authserver.stores.clients import find_client
from garrison.oauth.basic import parse_basic
from garrison.oauth.errors import InvalidClient, InvalidRequest

_NO_SECRET = seal.hashed(seal.new_secret())
"""What a secret is compared with where there is none: nothing matches it."""


@dataclass(frozen=True)
class Credentials:
    method: Method
    client_id: str
    client_secret: str


async def authenticate(exchange: Exchange, form: Parameters) -> Client:
    """The client that the request proves to come from; for a public one `client_id` is all the proof there is.

    Raises:
        InvalidClient: unknown, disabled, a wrong or missing secret, or another method than the registered one.
        InvalidRequest: two methods at once (§2.3).
    """
    credentials = presented(exchange, form)
    found = await find_client(exchange.store, credentials.client_id)
    client, secret_hash = found or (None, None)
    right = seal.same_mac(seal.hashed(credentials.client_secret), secret_hash or _NO_SECRET)
    if client is None or client.disabled or (client.confidential and not right):
        # Without the name, if no client has it: people swap the id and the secret.
        named = f"client_id {client.client_id}" if client else "unknown client"
        raise InvalidClient("client authentication failed", detail=named)
    if credentials.method != client.method:
        raise InvalidClient(f"this client is registered for {client.method}, not {credentials.method}")
    return client


def presented(exchange: Exchange, form: Parameters) -> Credentials:
    """What the request authenticates with. `client_id` in the form is not needed beside Basic, but may not differ."""
    headers = exchange.request.headers.getlist("authorization")
    if len(headers) > 1 or (headers and "client_secret" in form):
        raise InvalidRequest("more than one method of client authentication")
    if headers:
        client_id, client_secret = parse_basic(headers[0])
        if form.get("client_id", client_id) != client_id:
            raise InvalidClient("client_id is not the one in the Authorization header")
        return Credentials("client_secret_basic", client_id, client_secret)
    if "client_id" not in form:
        raise InvalidClient("client authentication is required")
    if "client_secret" in form:
        return Credentials("client_secret_post", form["client_id"], form["client_secret"])
    return Credentials("none", form["client_id"], "")
