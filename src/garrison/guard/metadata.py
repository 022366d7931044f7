"""RFC 9728: the one document that strangers may read, naming the authorization servers and scopes of this resource."""

import json
from collections.abc import Iterable

from garrison.guard.refusal import MethodNotAllowed
from garrison.guard.types import Answer, Request
from garrison.oauth import resource_metadata

_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, OPTIONS",
    "access-control-allow-headers": "mcp-protocol-version",
    "access-control-max-age": "3600",
}
"""Open to every page: the document is public, and a browser client needs it before it has any credential."""


class Metadata:
    def __init__(self, resource: str, issuers: Iterable[str], scopes: Iterable[str]) -> None:
        paths = resource_metadata.well_known_paths(resource)
        # A client that was told the resource with a slash inserts its path with the slash.
        self._paths = frozenset([*paths, *(f"{path}/" for path in paths)])
        self._body = json.dumps(resource_metadata.document(resource, issuers, scopes)).encode()
        self.url = resource_metadata.well_known_urls(resource)[0]

    def answer(self, request: Request) -> Answer | None:
        """The document, if `request` asks for it at one of its places (§3.1); None if it asks for something else.

        Raises:
            MethodNotAllowed: it is at one of them, but doesn't ask.
        """
        if request.path not in self._paths:
            return None
        if request.method == "OPTIONS":
            return Answer(200, _CORS)
        if request.method != "GET":
            raise MethodNotAllowed("Use GET.", headers={"allow": "GET, OPTIONS"})
        headers = {"content-type": "application/json", "cache-control": "public, max-age=3600", **_CORS}
        return Answer(200, headers, self._body)
