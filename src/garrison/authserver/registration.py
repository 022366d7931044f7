"""What may be registered (RFC 7591 §2's members for a client; names and passwords of users): else a `UsageError`."""

import re
import secrets
from collections.abc import Iterable
from typing import cast

from garrison.authserver.passwords import MAX_LENGTH
from garrison.authserver.records import CLIENT_PREFIX, GRANT_TYPES, METHODS, Client, Method
from garrison.base.errors import UsageError
from garrison.oauth import client_assertion, client_metadata, redirect_uri, resource
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.errors import InvalidScope, OAuthError

MIN_PASSWORD = 12
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


def name(text: str) -> str:
    try:
        return client_metadata.check_name(text)
    except OAuthError as error:
        raise UsageError(error.description) from error


def method(chosen: str, *, public: bool) -> Method:
    if public:
        return "none"
    if chosen not in METHODS or chosen == "none":
        raise UsageError(
            f"{chosen} is no way for a client to authenticate",
            "client_secret_basic, client_secret_post or private_key_jwt; a client without a secret is public.",
        )
    return cast("Method", chosen)


def as_method(chosen: str) -> Method:
    """One of RFC 7591's words for it, that was checked before."""
    if chosen not in METHODS:
        raise UsageError(f"{chosen} is no way for a client to authenticate")
    return chosen


def grants(names: Iterable[str]) -> frozenset[str]:
    chosen = frozenset(names)
    if not chosen or not chosen <= frozenset(GRANT_TYPES):
        raise UsageError(f"grants must be one or more of {', '.join(GRANT_TYPES)}")
    return chosen


def scope(text: str) -> frozenset[str]:
    try:
        scopes = scope_rfc6749.parse(text)
    except InvalidScope as error:
        raise UsageError(error.description) from error
    if not scopes:
        raise UsageError("scope is empty: nothing could ever be granted")
    return scopes


def check_client(client: Client) -> None:
    """What must hold between its parts."""
    if client.introspects and not client.confidential:
        raise UsageError("only a confidential client can be a resource server that asks about tokens")
    codes = "authorization_code" in client.grants
    if codes != bool(client.redirect_uris):
        raise UsageError("a client has redirect URIs if, and only if, its grants have authorization_code")
    if "refresh_token" in client.grants and not codes:
        raise UsageError("refresh_token comes with authorization_code alone (RFC 6749 section 4.4.3)")
    if "client_credentials" in client.grants and not client.confidential:
        raise UsageError("client_credentials is for confidential clients only (RFC 6749 section 4.4)")
    if (client.method == "private_key_jwt") != (client.jwks is not None or bool(client.jwks_uri)):
        raise UsageError("jwks or jwks_uri comes with the method private_key_jwt, and with no other")
    if client.jwks is not None and client.jwks_uri:
        raise UsageError("jwks and jwks_uri go not together (RFC 7591 section 2)")
    try:
        if client.jwks is not None:
            client_assertion.check_jwks(client.jwks)
        if client.jwks_uri:
            client_metadata.check_jwks_uri(client.jwks_uri)
        for uri in client.redirect_uris:
            redirect_uri.check_registrable(uri)
        for uri in (*client.resources, *client.introspects):
            resource.check(uri)
    except OAuthError as error:
        raise UsageError(error.description) from error


def password(chosen: str | None) -> str:
    if chosen is None:
        return secrets.token_urlsafe(15)
    if not MIN_PASSWORD <= len(chosen) <= MAX_LENGTH:
        raise UsageError(f"a password has {MIN_PASSWORD} to {MAX_LENGTH} characters")
    return chosen


def username(text: str) -> str:
    if not _USERNAME.fullmatch(text) or text.startswith(CLIENT_PREFIX):
        raise UsageError(
            f"a username is up to 64 of a-z, 0-9 and ._@+-, begins with a letter or digit, and not with {CLIENT_PREFIX}"
        )
    return text
