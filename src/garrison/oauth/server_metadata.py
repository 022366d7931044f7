"""RFC 8414: authorization-server metadata, where it is found and whether it may be believed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from garrison.oauth.errors import MetadataError

_SUFFIXES = ("oauth-authorization-server", "openid-configuration")


def well_known_paths(issuer: str) -> tuple[str, ...]:
    """The paths under the issuer's host that hold its metadata (§3.1, OpenID Connect Discovery §4.1).

    In the order in which the MCP specification tells clients to try them: both path-inserted, then OpenID's appended.
    """
    path = urlsplit(issuer).path.rstrip("/")
    inserted = tuple(f"/.well-known/{suffix}{path}" for suffix in _SUFFIXES)
    return (*inserted, f"{path}/.well-known/openid-configuration") if path else inserted


def well_known_urls(issuer: str) -> tuple[str, ...]:
    parts = urlsplit(issuer)
    return tuple(f"{parts.scheme}://{parts.netloc}{path}" for path in well_known_paths(issuer))


@dataclass(frozen=True)
class ServerMetadata:
    """What a client or a resource needs to know of an authorization server; absent endpoints are empty."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    authorization_endpoint: str = ""
    revocation_endpoint: str = ""
    introspection_endpoint: str = ""
    registration_endpoint: str = ""
    code_challenge_methods: tuple[str, ...] = ()
    token_endpoint_auth_methods: tuple[str, ...] = ("client_secret_basic",)
    iss_parameter_supported: bool = False
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)


def check(document: Any, issuer: str) -> ServerMetadata:
    """`document` as metadata of exactly `issuer` (§3.3: anything else must not be used).

    Raises:
        MetadataError: it is another's, or has members of a wrong type. Whether its endpoints may be visited is for
            the caller to judge: it depends on where the caller is.
    """
    if not isinstance(document, dict):
        raise MetadataError("the authorization server's metadata is not a JSON object")
    if document.get("issuer") != issuer:
        raise MetadataError(
            f"the metadata found for {issuer} names another issuer",
            "Check the issuer's address: it must be the exact string that the server calls itself.",
        )
    return ServerMetadata(
        issuer=issuer,
        token_endpoint=_text(document, "token_endpoint"),
        jwks_uri=_text(document, "jwks_uri"),
        authorization_endpoint=_text(document, "authorization_endpoint"),
        revocation_endpoint=_text(document, "revocation_endpoint"),
        introspection_endpoint=_text(document, "introspection_endpoint"),
        registration_endpoint=_text(document, "registration_endpoint"),
        code_challenge_methods=_texts(document, "code_challenge_methods_supported", ()),
        token_endpoint_auth_methods=_texts(document, "token_endpoint_auth_methods_supported", ("client_secret_basic",)),
        iss_parameter_supported=document.get("authorization_response_iss_parameter_supported") is True,
        document=document,
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise MetadataError(f"the metadata's {name} is not a string")
    return value


def _texts(document: Mapping[str, Any], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = document.get(name)
    if value is None:
        return default
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MetadataError(f"the metadata's {name} is not a list of strings")
    return tuple(value)
