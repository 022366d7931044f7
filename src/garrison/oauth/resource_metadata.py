"""RFC 9728: protected-resource metadata, which leads from an MCP server to the authorization servers that it trusts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from garrison.oauth import resource as resource_rfc8707
from garrison.oauth.errors import MetadataError

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def well_known_paths(resource: str) -> tuple[str, ...]:
    """Path-inserted first (§3.1), then the root, as the MCP specification orders them."""
    path = urlsplit(resource).path.rstrip("/")
    return (f"{WELL_KNOWN}{path}", WELL_KNOWN) if path else (WELL_KNOWN,)


def well_known_urls(resource: str) -> tuple[str, ...]:
    parts = urlsplit(resource)
    return tuple(f"{parts.scheme}://{parts.netloc}{path}" for path in well_known_paths(resource))


def document(resource: str, authorization_servers: Iterable[str], scopes: Iterable[str]) -> dict[str, Any]:
    """The document of §2; tokens are taken from the Authorization header alone."""
    return {
        "resource": resource,
        "authorization_servers": list(authorization_servers),
        "scopes_supported": sorted(scopes),
        "bearer_methods_supported": ["header"],
    }


@dataclass(frozen=True)
class ResourceMetadata:
    resource: str
    authorization_servers: tuple[str, ...]
    scopes_supported: tuple[str, ...] = ()


def check(metadata: Any, url: str) -> ResourceMetadata:
    """`metadata` as that of the server at `url`.

    §3.3 wants the `resource` to be the one asked about. An MCP client asks by the address it calls, so the resource
    must have the same origin and a path that contains it.

    Raises:
        MetadataError: it speaks of another resource, or names no authorization server.
    """
    if not isinstance(metadata, dict) or not isinstance(metadata.get("resource"), str):
        raise MetadataError("the protected-resource metadata is not a JSON object with a resource")
    resource, servers = metadata["resource"], metadata.get("authorization_servers")
    if not _contains(resource, url):
        raise MetadataError(f"the metadata of {url} speaks of another resource")
    if not isinstance(servers, list) or not servers or not all(isinstance(server, str) for server in servers):
        raise MetadataError(f"the metadata of {url} names no authorization server")
    scopes = metadata.get("scopes_supported")
    return ResourceMetadata(
        resource, tuple(servers), tuple(s for s in scopes if isinstance(s, str)) if isinstance(scopes, list) else ()
    )


def _contains(resource: str, url: str) -> bool:
    try:
        a, b = urlsplit(resource), urlsplit(url)
    except ValueError:
        return False
    if (a.scheme, a.netloc) != (b.scheme, b.netloc) or a.query or a.fragment:
        return False
    return resource_rfc8707.same(a.path, b.path) or b.path.startswith(a.path.rstrip("/") + "/")
