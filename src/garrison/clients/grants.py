"""The ways to a first token: by the client's own credentials (RFC 6749 §4.4), or by a person (§4.1).

A grant is told where to go by discovery alone: credentials only ever travel to the token endpoint that the issuer's own
metadata names, and the user only ever to its authorization endpoint.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import Protocol

from garrison.base.fetch import Fetcher
from garrison.clients.authorization import authorization_request, process_authorization_response
from garrison.clients.discovery import Discovery, Found
from garrison.clients.login import Login, RedirectListener
from garrison.clients.token_request import (
    Client,
    TokenResponse,
    authenticate,
    authorization_code_request,
    client_credentials_request,
    process_token_response,
    refresh_request,
)


class Grant(Protocol):
    async def __call__(self, found: Found, scopes: frozenset[str]) -> TokenResponse: ...


class TokenEndpoint:
    """Sends token requests as one client."""

    def __init__(self, fetcher: Fetcher, client: Client) -> None:
        self._fetcher = fetcher
        self.client = client

    async def send(self, found: Found, form: Mapping[str, str]) -> TokenResponse:
        request = authenticate(form, self.client, found.server)
        answer = await self._fetcher.post_form(found.server.token_endpoint, request.form, headers=request.headers)
        return process_token_response(answer)

    async def refresh(self, found: Found, refresh_token: str) -> TokenResponse:
        return await self.send(found, refresh_request(found.resource.resource, refresh_token))


class ClientCredentials:
    """For a client that acts for itself."""

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, found: Found, scopes: frozenset[str]) -> TokenResponse:
        return await self._endpoint.send(found, client_credentials_request(found.resource.resource, scopes))


class AuthorizationCode:
    """For a client that acts for a person, who logs in."""

    def __init__(self, endpoint: TokenEndpoint, login: Login, discovery: Discovery) -> None:
        self._endpoint = endpoint
        self._login = login
        self._discovery = discovery

    async def __call__(self, found: Found, scopes: frozenset[str]) -> TokenResponse:
        server, resource = found.server, found.resource.resource
        if server.authorization_endpoint:
            self._discovery.check(server.authorization_endpoint, "authorization_endpoint")
        with closing(RedirectListener(self._login.path)) as listener:
            request = authorization_request(
                server,
                client_id=self._endpoint.client.client_id,
                redirect=listener.redirect_uri,
                resource=resource,
                scopes=scopes,
            )
            code = await listener.code(
                request.url, self._login, lambda query: process_authorization_response(query, request, server)
            )
        form = authorization_code_request(resource, code, request.redirect_uri, request.verifier)
        return await self._endpoint.send(found, form)
