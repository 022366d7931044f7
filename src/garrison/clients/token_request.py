"""RFC 6749 §4.4, §4.1.3, §6 with RFC 8707: token requests, built here, and their answers, judged here.

`…_request()` builds a form, `authenticate()` adds the client's own credentials in the way its server asks for (§2.3.1),
`process_token_response()` judges the answer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from garrison.base.fetch import Fetched
from garrison.clients import client_assertion
from garrison.clients.errors import AuthorizationFailed, TokenRefused
from garrison.oauth import basic
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.errors import InvalidScope
from garrison.oauth.jwks import SigningKey
from garrison.oauth.server_metadata import ServerMetadata

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")  # RFC 6750 §2.1's b64token
_ERROR_CODE = re.compile(r"[a-z_]{1,64}")
_MAX_LIFETIME = 366 * 24 * 3600


@dataclass(frozen=True)
class Client:
    """Who we are at the authorization server; without a secret or a key, a public client.

    Attributes:
        client_id: by which the server knows us.
        client_secret: what we prove it with,
        key: or a key that we sign with (private_key_jwt).
        auth_method: how the server wants it proved (RFC 7591 §2); empty to choose by its metadata.
        redirect_uri: the only one it knows; empty for any port of 127.0.0.1.
    """

    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    key: SigningKey | None = field(default=None, repr=False)
    auth_method: str = ""
    redirect_uri: str = ""


@dataclass(frozen=True)
class TokenRequest:
    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class TokenResponse:
    """A successful answer (§5.1); `lifetime` in seconds, None where the server gave none."""

    access_token: str = field(repr=False)
    lifetime: float | None
    scopes: frozenset[str] | None
    refresh_token: str | None = field(default=None, repr=False)


def client_credentials_request(resource: str, scopes: frozenset[str]) -> dict[str, str]:
    return _with_scope({"grant_type": "client_credentials", **_indicator(resource)}, scopes)


def authorization_code_request(resource: str, code: str, redirect_uri: str, verifier: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
        **_indicator(resource),
    }


def refresh_request(resource: str, refresh_token: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": refresh_token, **_indicator(resource)}


def _indicator(resource: str) -> dict[str, str]:
    """RFC 8707 §2.2; nothing where the user said to omit it."""
    return {"resource": resource} if resource else {}


def _with_scope(form: dict[str, str], scopes: frozenset[str]) -> dict[str, str]:
    """RFC 6749 §3.3: no scope parameter asks for the server's default."""
    return {**form, "scope": scope_rfc6749.render(scopes)} if scopes else form


def authenticate(form: Mapping[str, str], client: Client, server: ServerMetadata, now: float) -> TokenRequest:
    """`form` with the client's credentials: a signed assertion, or Basic where the server takes it, or in the form.

    Raises:
        AuthorizationFailed: the server takes none of these.
    """
    methods = (client.auth_method,) if client.auth_method else server.token_endpoint_auth_methods
    if client.key:
        if "private_key_jwt" not in methods:
            raise AuthorizationFailed(f"the authorization server {server.issuer} takes no signed assertion")
        return TokenRequest({**form, **client_assertion.parameters(client.client_id, client.key, server, now)})
    if client.client_secret is None:
        return TokenRequest({**form, "client_id": client.client_id})
    if "client_secret_basic" in methods:
        return TokenRequest(form, {"authorization": basic.render_basic(client.client_id, client.client_secret)})
    if "client_secret_post" in methods:
        return TokenRequest({**form, "client_id": client.client_id, "client_secret": client.client_secret})
    if "none" in methods:
        return TokenRequest({**form, "client_id": client.client_id})
    raise AuthorizationFailed(f"the authorization server {server.issuer} takes no client secret")


def process_token_response(answer: Fetched) -> TokenResponse:
    """The token of `answer`.

    Raises:
        TokenRefused: the server said no, in the form of §5.2.
        AuthorizationFailed: the answer is neither a token nor such an error.
        FetchError: it isn't JSON.
    """
    if answer.status in {400, 401, 403}:
        raise _refusal(answer.json())
    if answer.status != 200:  # noqa: PLR2004 - §5.1; a redirect is no answer either
        raise AuthorizationFailed(f"the token endpoint answered {answer.status}", "Is the authorization server well?")
    document = answer.json()
    if not isinstance(document, dict) or str(document.get("token_type", "")).lower() != "bearer":
        raise AuthorizationFailed("the token endpoint's answer is not a Bearer token")
    token, refresh_token = document.get("access_token"), document.get("refresh_token")
    if not isinstance(token, str) or not _BEARER_TOKEN.fullmatch(token):
        raise AuthorizationFailed("the token endpoint's answer has no usable access_token")
    return TokenResponse(
        token,
        _lifetime(document.get("expires_in")),
        _scopes(document.get("scope")),
        refresh_token if isinstance(refresh_token, str) and refresh_token else None,
    )


def _refusal(document: Any) -> TokenRefused:
    document = document if isinstance(document, dict) else {}
    error, description = document.get("error"), document.get("error_description", "")
    known = isinstance(error, str) and _ERROR_CODE.fullmatch(error)
    hint = "Check client_id and client_secret." if error == "invalid_client" else ""
    return TokenRefused(
        str(error) if known else "unknown error", description if isinstance(description, str) else "", hint
    )


def _lifetime(value: object) -> float | None:
    """Seconds, if `value` is a sensible number of them (some servers send it as text)."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        return None
    return seconds if seconds is not None and 0 <= seconds <= _MAX_LIFETIME else None


def _scopes(value: object) -> frozenset[str] | None:
    try:
        return scope_rfc6749.parse(value) if isinstance(value, str) else None
    except InvalidScope:
        return None
