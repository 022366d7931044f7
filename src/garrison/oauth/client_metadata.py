"""RFC 7591 §2: client metadata that comes from the client itself, sent to /register or published at the URL that is its
client_id (the Client ID Metadata Document draft).

Nobody vouches for it, so no grant that needs no user can be had, and what could do harm is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from garrison.oauth import client_assertion, redirect_uri
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.errors import InvalidClientMetadata, InvalidRedirectUri, InvalidRequest, InvalidScope

MAX_NAME = 100
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Unicode calls default-ignorable, and the blank of Braille, as far as Python calls it printable."""
MAX_URL = 2048
MAX_CLIENT_ID = 512
MAX_REDIRECT_URIS = 20
MAX_DOCUMENT = 5120
"""Bytes of a Client ID Metadata Document."""
GRANTS = frozenset({"authorization_code", "refresh_token"})
"""What such a client can have: nothing without a user who says so."""
REGISTRATION_METHODS = frozenset({"none", "client_secret_basic", "client_secret_post", "private_key_jwt"})
DOCUMENT_METHODS = frozenset({"none", "private_key_jwt"})
_NETLOC = re.compile(
    r"([^\[\]@:\\]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?"
)  # urlsplit takes `evil.example[::1]` for the host ::1
_SECRETS = frozenset({"client_secret", "client_secret_expires_at"})


@dataclass(frozen=True)
class ClientMetadata:
    """What a client says of itself; `name` is empty and `scope` None where it says nothing."""

    name: str
    method: str
    grants: frozenset[str]
    scope: frozenset[str] | None
    redirect_uris: tuple[str, ...]
    jwks: Mapping[str, Any] | None
    jwks_uri: str


def check_registration(metadata: Any) -> ClientMetadata:
    """What was sent to /register (§3.1).

    Raises:
        InvalidRedirectUri, InvalidClientMetadata: it can't be registered.
    """
    return _checked(metadata, REGISTRATION_METHODS, "client_secret_basic")


def check_document(document: Any, client_id: str) -> ClientMetadata:
    """The document that was found at the URL `client_id`: it must claim to be just that, and share no secret with us.

    Raises:
        InvalidRedirectUri, InvalidClientMetadata: it can't be believed or used.
    """
    if not isinstance(document, dict) or document.get("client_id") != client_id:
        raise InvalidClientMetadata("the client's metadata document does not have its own address as client_id")
    if _SECRETS & document.keys():
        raise InvalidClientMetadata("a client's metadata document is public and can hold no client_secret")
    return _checked(document, DOCUMENT_METHODS, "none")


def check_client_id_url(client_id: str) -> SplitResult:
    """The parts of a client_id that is a URL (CIMD §3): https, with a path, and one way alone to write it.

    A query is refused too (the draft advises against it): behind one, many a site repeats what strangers put into it.

    Raises:
        InvalidClientMetadata: it isn't such a URL.
    """
    parts = _https(client_id)
    segments = parts.path.lower().replace("%2e", ".").split("/") if parts else []
    if (
        parts is None
        or len(client_id) > MAX_CLIENT_ID
        or parts.path in ("", "/")
        or "\\" in client_id
        or "?" in client_id
        or {".", ".."} & set(segments)
    ):
        raise InvalidClientMetadata(
            "a client_id that is a URL must be https with a path, without dot segments, query, fragment and user name, "
            f"at most {MAX_CLIENT_ID} characters"
        )
    return parts


def check_jwks_uri(uri: Any) -> str:
    """https, even on loopback: whoever could change the keys on their way could be the client.

    Raises:
        InvalidClientMetadata: it isn't an https address.
    """
    if not isinstance(uri, str) or len(uri) > MAX_URL or _https(uri) is None:
        raise InvalidClientMetadata("jwks_uri is not an https address")
    return uri


def check_name(name: Any) -> str:
    """Printable, because a name that reorders or hides text on the consent page speaks for somebody else.

    Raises:
        InvalidClientMetadata: it isn't, or is empty, padded or too long.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise InvalidClientMetadata(f"a client's name is 1 to {MAX_NAME} printable characters")
    if _INVISIBLE.search(name) or not any(character.isalnum() for character in name):
        raise InvalidClientMetadata("a client's name has a letter or digit, and no character that can't be seen")
    return name


def _checked(metadata: Any, methods: frozenset[str], default_method: str) -> ClientMetadata:
    if not isinstance(metadata, dict):
        raise InvalidClientMetadata("the client's metadata is not a JSON object")
    method = metadata.get("token_endpoint_auth_method", default_method)
    if not isinstance(method, str) or method not in methods:
        raise InvalidClientMetadata(f"token_endpoint_auth_method must be one of {', '.join(sorted(methods))}")
    if "code" not in _texts(metadata, "response_types", ("code",)):
        raise InvalidClientMetadata("response_types must have code")
    grants = GRANTS & set(_texts(metadata, "grant_types", ("authorization_code",)))
    if "authorization_code" not in grants:
        raise InvalidClientMetadata("grant_types must have authorization_code")
    jwks, jwks_uri = _keys(metadata, method)
    return ClientMetadata(
        name="" if metadata.get("client_name") in (None, "") else check_name(metadata["client_name"]),
        method=method,
        grants=grants,
        scope=_scope(metadata),
        redirect_uris=_redirect_uris(metadata),
        jwks=jwks,
        jwks_uri=jwks_uri,
    )


def _redirect_uris(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    uris = _texts(metadata, "redirect_uris", ())
    if not 1 <= len(uris) <= MAX_REDIRECT_URIS or any(len(uri) > MAX_URL for uri in uris):
        raise InvalidRedirectUri(f"redirect_uris must be 1 to {MAX_REDIRECT_URIS} URIs")
    try:
        for uri in uris:
            redirect_uri.check_registrable(uri)
    except InvalidRequest as error:
        raise InvalidRedirectUri(error.description) from error
    return uris


def _keys(metadata: Mapping[str, Any], method: str) -> tuple[Mapping[str, Any] | None, str]:
    """Jwks or jwks_uri; whatever a client of another method has them for, it isn't for us."""
    jwks, jwks_uri = metadata.get("jwks"), metadata.get("jwks_uri") or None
    if jwks is not None:
        client_assertion.check_jwks(jwks)
    if jwks_uri is not None:
        check_jwks_uri(jwks_uri)
    if jwks is not None and jwks_uri is not None:
        raise InvalidClientMetadata("jwks and jwks_uri go not together")
    if method != "private_key_jwt":
        return None, ""
    if jwks is None and jwks_uri is None:
        raise InvalidClientMetadata("private_key_jwt needs jwks or jwks_uri")
    return jwks, jwks_uri or ""


def _scope(metadata: Mapping[str, Any]) -> frozenset[str] | None:
    if metadata.get("scope") is None:
        return None
    try:
        return scope_rfc6749.parse(metadata["scope"])
    except (InvalidScope, AttributeError) as error:
        raise InvalidClientMetadata("scope must be a string of space-separated tokens") from error


def _texts(metadata: Mapping[str, Any], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    values = metadata.get(name)
    if values is None:
        return default
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidClientMetadata(f"{name} must be a list of strings")
    return tuple(values)


def _https(url: str) -> SplitResult | None:
    """The parts of a plain https URL, without fragment and user name."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # urlsplit judges the port only when asked for it
    except ValueError:
        return None
    printable = url.isascii() and url.isprintable() and " " not in url
    plain = url.startswith("https://") and bool(_NETLOC.fullmatch(parts.netloc))
    return parts if printable and plain and "#" not in url else None
