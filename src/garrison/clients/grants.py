"""The ways to a first token: by the client's own credentials (RFC 6749 §4.4), or by a person (§4.1).

A grant is told where to go by discovery alone: credentials only ever travel to the token endpoint that the issuer's own
metadata names, and the user only ever to its authorization endpoint.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import Protocol
from urllib.parse import urlsplit

from garrison.base.fetch import Fetcher
from garrison.clients.authorization import authorization_request, check_mix_up, process_authorization_response
from garrison.clients.discovery import Discovery, Found
from garrison.clients.login import Login, RedirectListener
from garrison.clients.retry_after import Timing, Waits
from garrison.clients.token_request import (
    Client,
    TokenResponse,
    authenticate,
    authorization_code_request,
    client_credentials_request,
    process_token_response,
    refresh_request,
)

_BUSY = (429, 503)


class Grant(Protocol):
    async def __call__(self, found: Found, client: Client, scopes: frozenset[str]) -> TokenResponse: ...


class TokenEndpoint:
    """Sends token requests."""

    def __init__(self, fetcher: Fetcher, timing: Timing) -> None:
        self._fetcher = fetcher
        self._timing = timing

    async def send(self, found: Found, client: Client, form: Mapping[str, str]) -> TokenResponse:
        """Raises `RateLimited` where the server is busy for longer than our patience lasts, and as the parts do."""
        waits = Waits(self._timing)
        while True:
            # Signed anew each time: an assertion is good for one request.
            request = authenticate(form, client, found.server, self._timing.clock())
            answer = await self._fetcher.post_form(found.server.token_endpoint, request.form, headers=request.headers)
            if answer.status not in _BUSY:
                return process_token_response(answer)
            await waits.wait(answer.headers.get("retry-after"))

    async def refresh(self, found: Found, client: Client, refresh_token: str) -> TokenResponse:
        return await self.send(found, client, refresh_request(found.indicator, refresh_token))


class ClientCredentials:
    """For a client that acts for itself."""

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, found: Found, client: Client, scopes: frozenset[str]) -> TokenResponse:
        return await self._endpoint.send(found, client, client_credentials_request(found.indicator, scopes))


class AuthorizationCode:
    """For a client that acts for a person, who logs in."""

    def __init__(self, endpoint: TokenEndpoint, login: Login, discovery: Discovery) -> None:
        self._endpoint = endpoint
        self._login = login
        self._discovery = discovery

    async def __call__(self, found: Found, client: Client, scopes: frozenset[str]) -> TokenResponse:
        server = found.server
        if server.authorization_endpoint:
            self._discovery.check(server.authorization_endpoint, "authorization_endpoint")
        if not client.redirect_uri and not self._discovery.issuer_is_named:
            check_mix_up(server)
        redirect = urlsplit(client.redirect_uri)
        listening = RedirectListener(redirect.path or self._login.path, redirect.port or self._login.port)
        with closing(listening) as listener:
            request = authorization_request(
                server,
                client_id=client.client_id,
                redirect=client.redirect_uri or listener.redirect_uri,
                resource=found.indicator,
                scopes=scopes,
            )
            code = await listener.code(
                request.url, self._login, lambda query: process_authorization_response(query, request, server)
            )
        form = authorization_code_request(found.indicator, code, request.redirect_uri, request.verifier)
        return await self._endpoint.send(found, client, form)
