"""From a 401 to an authorization server: RFC 9728 (which server?), then RFC 8414 (what are its endpoints?).

Nothing found here is believed before it was checked: the resource metadata must be about the URL we call, the issuer
must be the configured one if there is one, and its metadata must name exactly that issuer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from garrison.base.errors import FetchError
from garrison.base.fetch import Fetcher
from garrison.clients.destination import check_named, is_local
from garrison.clients.errors import AuthorizationFailed
from garrison.oauth import pkce, resource_metadata, server_metadata
from garrison.oauth.challenge import Challenge
from garrison.oauth.resource_metadata import ResourceMetadata
from garrison.oauth.server_metadata import ServerMetadata

_T = TypeVar("_T")
_OK = 200


@dataclass(frozen=True)
class Found:
    """What discovery found, checked: the resource as it names itself, and its authorization server.

    Attributes:
        resource: the protected resource.
        server: its authorization server.
        indicator: the `resource` parameter to send (RFC 8707); empty where the user said to omit it.
    """

    resource: ResourceMetadata
    server: ServerMetadata
    indicator: str


class Discovery:
    """Finds the authorization server of one MCP URL.

    Args:
        fetcher: the guarded fetcher.
        url: the MCP URL, as the user gave it.
        issuer: the only issuer to use; None to take the first that the server trusts.
        private_addresses: whether metadata may name special-use addresses.
        omit_resource: whether to send no `resource` parameter, for a server that refuses it.
        legacy_authorization: whether a server without protected-resource metadata is taken for its own authorization
            server, as in the specification of 2025-03-26.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        url: str,
        issuer: str | None,
        *,
        private_addresses: bool = False,
        omit_resource: bool = False,
        legacy_authorization: bool = False,
    ) -> None:
        self._legacy = legacy_authorization
        self._omit_resource = omit_resource
        self._fetcher = fetcher
        self._url = url
        self._issuer = issuer
        self._private = private_addresses

    @property
    def issuer_is_named(self) -> bool:
        """Whether the user said which authorization server it is, so that no MCP server chose it."""
        return self._issuer is not None

    def check(self, url: str, what: str) -> str:
        """`url`, if the server's metadata may send us there. Raises `AuthorizationFailed`."""
        return check_named(url, what, local=is_local(self._url), private_addresses=self._private)

    async def find(self, challenge: Challenge | None) -> Found:
        """The authorization server behind `challenge`, or behind the well-known documents where it names none.

        Raises:
            AuthorizationFailed: the trail ends, or leads where it must not.
            MetadataError: a document speaks of somebody else.
            FetchError: a document can't be had.
        """
        resource = await self._resource(challenge)
        issuer = choose_issuer(resource.authorization_servers, self._issuer)
        self.check(issuer, "authorization server")
        server = await self._first(
            server_metadata.well_known_urls(issuer), lambda document: server_metadata.check(document, issuer)
        )
        if server is None and self._legacy and issuer == _origin(self._url):
            server = _default_endpoints(issuer)
        if server is None:
            raise AuthorizationFailed(
                f"the authorization server {issuer} publishes no metadata (RFC 8414)",
                "Is it running, and is its address exactly right?",
            )
        self.check(server.token_endpoint, "token_endpoint")
        return Found(resource, server, "" if self._omit_resource else resource.resource)

    async def _resource(self, challenge: Challenge | None) -> ResourceMetadata:
        named = challenge.params.get("resource_metadata") if challenge else None
        urls = (self.check(named, "resource_metadata"),) if named else resource_metadata.well_known_urls(self._url)
        found = await self._first(urls, lambda document: resource_metadata.check(document, self._url))
        if found is None and self._legacy and named is None:
            return ResourceMetadata(self._url, (_origin(self._url),))
        if found is None:
            raise AuthorizationFailed(
                f"{self._url} wants a token but does not say whose (RFC 9728)",
                "Its operator must publish protected-resource metadata.",
            )
        return found

    async def _first(self, urls: tuple[str, ...], check: Callable[[Any], _T]) -> _T | None:
        """The first document of `urls` that exists; it must then be right, or the search is over."""
        for url in urls:
            answer = await self._fetcher.get(url)
            if answer.status == _OK:
                return check(answer.json())
            if answer.status >= 500:  # noqa: PLR2004 - a server in trouble says nothing about what it publishes
                raise FetchError(f"{url} answered {answer.status}", "Try again later.")
        return None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _default_endpoints(issuer: str) -> ServerMetadata:
    """MCP 2025-03-26, fallbacks for servers without metadata discovery; PKCE is used though nobody announced it."""
    return ServerMetadata(
        issuer,
        token_endpoint=f"{issuer}/token",
        jwks_uri="",
        authorization_endpoint=f"{issuer}/authorize",
        registration_endpoint=f"{issuer}/register",
        code_challenge_methods=(pkce.METHOD,),
        token_endpoint_auth_methods=("none", "client_secret_basic", "client_secret_post"),
    )


def choose_issuer(offered: tuple[str, ...], configured: str | None) -> str:
    """The issuer to use: the configured one if the server trusts it, or else the server's first.

    Raises:
        AuthorizationFailed: the server leads elsewhere than to the configured issuer, whose credentials are not for it.
    """
    if configured is None:
        return offered[0]
    if configured not in offered:
        raise AuthorizationFailed(
            f"the server does not use the configured authorization server {configured}",
            "Check issuer: it must be the exact string; or the server is not the one you mean.",
        )
    return configured
