"""How a client comes to its id at an authorization server, in the MCP specification's order of client registration.

1. pre-registered: the user names the client; it belongs to one issuer;
2. its own metadata document (Client ID Metadata Documents), where the server says that it reads these;
3. dynamic registration (RFC 7591), where the server has an endpoint for it. What comes of it is kept by issuer and used
   again; if the server has forgotten it, the client registers once more.

`registration_request()` builds what is sent, `process_registration_response()` judges the answer.
"""

import json
import socket
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import urlsplit

from garrison.base.clock import Clock
from garrison.base.errors import UsageError
from garrison.base.fetch import Fetched, Fetcher
from garrison.clients.discovery import Discovery, Found
from garrison.clients.errors import AuthorizationFailed, TokenRefused
from garrison.clients.login import Login
from garrison.clients.token_request import Client
from garrison.clients.tokens import Registration, TokenStorage
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.server_metadata import ServerMetadata

CLIENT_NAME = "Garrison"
_CREATED = (200, 201)  # §3.2.1 says 201; some servers answer 200
_REFUSED = (400, 401, 403)
_METHODS = ("none", "client_secret_basic", "client_secret_post")
"""How we can prove ourselves after dynamic registration, what suits a program on somebody's machine best first."""
_MAX_SECONDS = 1e11


class Identity(Protocol):
    """Who we are at an authorization server."""

    async def client(self, found: Found) -> Client:
        """Raises `GarrisonError` where we are nobody there."""

    async def forget(self, found: Found, client: Client) -> bool:
        """Told that the server doesn't know `client`; whether there may be another."""


class PreRegistered:
    """The client that the user named, at one issuer: the configured one, or the first that was met."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._issuer = ""

    async def client(self, found: Found) -> Client:
        self._issuer = self._issuer or found.server.issuer
        if self._issuer != found.server.issuer:
            raise AuthorizationFailed(
                f"the server has moved to another authorization server, {found.server.issuer}",
                f"The client {self._client.client_id} is registered at {self._issuer}; name one of the new server.",
            )
        return self._client

    async def forget(self, found: Found, client: Client) -> bool:  # noqa: ARG002 - the protocol's
        return False


class Newcomer:
    """A client that no server knows yet.

    Args:
        fetcher: the guarded fetcher.
        discovery: judges the registration endpoint's address.
        storage: where registrations are kept.
        login: its path and port become the redirect URI.
        clock: seconds since the epoch.
        metadata_url: the client's own metadata document; None if it has none.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        discovery: Discovery,
        storage: TokenStorage,
        login: Login,
        clock: Clock,
        metadata_url: str | None,
    ) -> None:
        self._fetcher = fetcher
        self._discovery = discovery
        self._storage = storage
        self._login = login
        self._clock = clock
        self._metadata_url = check_metadata_url(metadata_url) if metadata_url else None

    async def client(self, found: Found) -> Client:
        server = found.server
        if self._metadata_url and server.document.get("client_id_metadata_document_supported") is True:
            return Client(self._metadata_url, auth_method="none")
        if not server.registration_endpoint:
            raise AuthorizationFailed(
                f"the authorization server {server.issuer} lets no client register itself",
                "Have a client registered there, and name it with client_id (--client-id, OAUTH_CLIENT_ID).",
            )
        async with self._storage.registration_lock(server.issuer):
            kept = await self._storage.registration(server.issuer)
            path = redirect_path(self._login.path, server)
            ended = kept and kept.expires_at and kept.expires_at <= self._clock()
            if kept is None or ended or urlsplit(kept.redirect_uri).path != path:
                kept = await self._register(found)
                await self._storage.save_registration(server.issuer, kept)
        return Client(kept.client_id, kept.client_secret, auth_method=kept.auth_method, redirect_uri=kept.redirect_uri)

    async def forget(self, found: Found, client: Client) -> bool:
        if client.client_id == self._metadata_url:
            return False
        issuer = found.server.issuer
        async with self._storage.registration_lock(issuer):
            kept = await self._storage.registration(issuer)
            if kept and kept.client_id == client.client_id:  # or another process has registered already
                await self._storage.save_registration(issuer, None)
        return True

    async def _register(self, found: Found) -> Registration:
        server = found.server
        endpoint = self._discovery.check(server.registration_endpoint, "registration_endpoint")
        # Some servers compare the port, too: so the same one is used for every login of this registration.
        path = redirect_path(self._login.path, server)
        redirect_uri = f"http://127.0.0.1:{self._login.port or _free_port()}{path}"
        body = registration_request(server, redirect_uri, frozenset(found.resource.scopes_supported))
        headers = {"content-type": "application/json"}
        answer = await self._fetcher.request("POST", endpoint, headers=headers, content=json.dumps(body).encode())
        return process_registration_response(answer, redirect_uri, str(body["token_endpoint_auth_method"]))


def redirect_path(path: str, server: ServerMetadata) -> str:
    """RFC 9700 §4.4.2.2: where answers don't say who answers (iss), each issuer answers at a path of its own.

    What another server's login leads to is then no redirect URI of ours there, and refused by that server.
    """
    own = sha256(server.issuer.encode()).hexdigest()[:16]
    return path if server.iss_parameter_supported else f"{path.rstrip('/')}/{own}"


def check_metadata_url(url: str) -> str:
    """`url`, if it can be a client's id (CIMD §3): https, with a path, without dot segments, fragment or user name.

    Raises:
        UsageError: it can't.
    """
    parts = urlsplit(url)
    bad = parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.path in {"", "/"}
    if bad or "#" in url or {".", ".."} & set(parts.path.split("/")) or not url.isascii() or not url.isprintable():
        raise UsageError(
            "the client's metadata document must have an https address with a path",
            "Such as https://app.example/oauth/client.json.",
        )
    return url


def registration_request(server: ServerMetadata, redirect_uri: str, scopes: frozenset[str]) -> dict[str, Any]:
    """RFC 7591 §2, for a program on its user's machine; MCP asks for `application_type`.

    Raises:
        AuthorizationFailed: the server wants clients to prove themselves in a way that we don't have.
    """
    method = next((method for method in _METHODS if method in server.token_endpoint_auth_methods), None)
    if method is None:
        raise AuthorizationFailed(f"the authorization server {server.issuer} has no way for us to prove ourselves")
    body: dict[str, Any] = {
        "client_name": CLIENT_NAME,
        "application_type": "native",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    return {**body, "scope": scope_rfc6749.render(scopes)} if scopes else body


def process_registration_response(answer: Fetched, redirect_uri: str, asked_method: str) -> Registration:
    """The registration in `answer` (RFC 7591 §3.2.1).

    Raises:
        TokenRefused: the server said no, in the form of §3.2.2.
        AuthorizationFailed: the answer is neither a registration nor such an error.
        FetchError: it isn't JSON.
    """
    if answer.status not in (*_CREATED, *_REFUSED):
        raise AuthorizationFailed(f"the registration endpoint answered {answer.status}")
    document = answer.json()
    document = document if isinstance(document, dict) else {}
    if answer.status in _REFUSED:
        error, description = document.get("error"), document.get("error_description")
        raise TokenRefused(
            error if isinstance(error, str) else "registration refused",
            description if isinstance(description, str) else "",
            "Have a client registered there by its operator, and name it with client_id.",
        )
    client_id, secret = document.get("client_id"), document.get("client_secret")
    if not isinstance(client_id, str) or not client_id.isprintable() or not client_id:
        raise AuthorizationFailed("the registration endpoint's answer has no usable client_id")
    secret = secret if isinstance(secret, str) and secret else None
    # A secret that was not asked for, and no word about its use: then it is used as the server's metadata says.
    method = document.get("token_endpoint_auth_method", "" if secret else asked_method)
    if method not in ("", *_METHODS) or (method not in ("", "none") and secret is None):
        raise AuthorizationFailed("the registration endpoint's answer does not say how the client proves itself")
    return Registration(client_id, redirect_uri, secret if method != "none" else None, method, _expiry(document))


def _expiry(document: Mapping[str, Any]) -> float:
    value = document.get("client_secret_expires_at", 0)
    sensible = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MAX_SECONDS
    return float(value) if sensible else 0.0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
