"""Client authentication (RFC 6749 §2.3): by the one method that the client is registered for, and really required."""

import json
from typing import Any

import msgspec

from garrison.authserver import client_documents, headers, seal
from garrison.authserver.context import Exchange
from garrison.authserver.forms import Parameters
from garrison.authserver.records import Client, Method
from garrison.authserver.stores.assertions import use_assertion
from garrison.base.peers import neighbourhood
from garrison.oauth import client_assertion, signed_jwt
from garrison.oauth.basic import parse_basic
from garrison.oauth.errors import InvalidClient, InvalidClientMetadata, InvalidRequest, InvalidToken

_NO_SECRET = seal.hashed(seal.new_secret())
"""What a secret is compared with where there is none: nothing matches it."""


class Credentials(msgspec.Struct, frozen=True):
    """What a request authenticates with: a secret, an assertion, or nothing but the name."""

    method: Method
    client_id: str
    client_secret: str = ""
    assertion: str = ""

    def __repr__(self) -> str:  # without what proves it
        return f"Credentials({self.method}, {self.client_id})"


async def authenticate(exchange: Exchange, form: Parameters) -> Client:
    """The client that the request proves to come from; for a public one `client_id` is all the proof there is.

    Raises:
        InvalidClient: unknown, disabled, a wrong or missing secret or assertion, or another method than the registered
            one.
        InvalidRequest: two methods at once (§2.3).
    """
    credentials = presented(exchange, form)
    try:
        found = await client_documents.find(exchange, credentials.client_id)
    except InvalidClientMetadata as error:
        raise InvalidClient(error.description, detail=error.detail) from error
    client, secret_hash = found or (None, None)
    right = seal.same_mac(seal.hashed(credentials.client_secret), secret_hash or _NO_SECRET)
    by_key = client is not None and client.method == credentials.method == "private_key_jwt"
    if client is None or client.disabled or (client.confidential and not right and not by_key):
        # Without the name, if no client has it: people swap the id and the secret.
        named = f"client_id {client.client_id}" if client else "unknown client"
        raise InvalidClient("client authentication failed", detail=named)
    if credentials.method != client.method:
        raise InvalidClient(f"this client is registered for {client.method}, not {credentials.method}")
    if by_key:
        await _check_assertion(exchange, client, credentials.assertion)
    return client


async def _check_assertion(exchange: Exchange, client: Client, assertion: str) -> None:
    """RFC 7523 §3: signed with the client's key, for us, fresh, and not seen before."""
    try:
        keys = client_assertion.candidates(assertion, await _keys(exchange, client, assertion))
        verified = client_assertion.verify(
            assertion, keys, client_id=client.client_id, issuer=exchange.settings.issuer, now=exchange.now
        )
    except InvalidToken as error:
        detail = f"client_id {client.client_id}; {error.detail}"
        raise InvalidClient(f"client authentication failed: {error.description}", detail=detail) from error
    key = seal.hashed(json.dumps([client.client_id, verified.jti]))
    if not await use_assertion(exchange.store, key, verified.forgotten_at):
        raise InvalidClient(
            "client authentication failed: the assertion was used before (jti)", detail=f"client_id {client.client_id}"
        )


async def _keys(exchange: Exchange, client: Client, assertion: str) -> Any:
    if not client.jwks_uri:
        return client.jwks
    kid = signed_jwt.peek_header(assertion).get("kid", "")
    if client.source == "operator":
        return await exchange.server.client_keys.get(client.jwks_uri, str(kid))
    asker = neighbourhood(exchange.address)
    return await exchange.server.stranger_keys.get(client.jwks_uri, str(kid), asker=asker)


def presented(exchange: Exchange, form: Parameters) -> Credentials:
    """What the request authenticates with.

    `client_id` in the form is not needed beside Basic or an assertion, but may not differ.
    """
    authorization = headers.values(exchange.request, b"authorization")
    if len(authorization) + ("client_secret" in form) + ("client_assertion" in form) > 1:
        raise InvalidRequest("more than one method of client authentication")
    if "client_assertion" in form or "client_assertion_type" in form:
        return _presented_assertion(form)
    if authorization:
        client_id, client_secret = parse_basic(authorization[0])
        if form.get("client_id", client_id) != client_id:
            raise InvalidClient("client_id is not the one in the Authorization header")
        return Credentials("client_secret_basic", client_id, client_secret)
    if "client_id" not in form:
        raise InvalidClient("client authentication is required")
    if "client_secret" in form:
        return Credentials("client_secret_post", form["client_id"], form["client_secret"])
    return Credentials("none", form["client_id"])


def _presented_assertion(form: Parameters) -> Credentials:
    """RFC 7521 §4.2."""
    if form.get("client_assertion_type") != client_assertion.TYPE:
        raise InvalidClient(f"client_assertion_type must be {client_assertion.TYPE}")
    assertion = form.get("client_assertion", "")
    try:
        client_id = client_assertion.peek_client_id(assertion)
    except InvalidToken as error:
        raise InvalidClient(error.description) from error
    if form.get("client_id", client_id) != client_id:
        raise InvalidClient("client_id is not the one in the assertion")
    return Credentials("private_key_jwt", client_id, assertion=assertion)
