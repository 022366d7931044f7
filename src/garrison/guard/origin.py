"""Where a request comes from and what it wants, before a byte of its body is read (MCP, transports: DNS rebinding).

Everything that isn't named here does not exist: one path, three methods, our own hosts and origins.
"""

from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

from mcp.shared.inbound import MCP_METHOD_HEADER, MCP_NAME_HEADER, MCP_PROTOCOL_VERSION_HEADER

from garrison.guard.refusal import (
    HeaderMismatch,
    MethodNotAllowed,
    Misdirected,
    NotFound,
    OriginRefused,
    Refusal,
    TooLarge,
    UnsupportedMediaType,
)
from garrison.guard.types import LAST_EVENT_ID, SESSION_ID, Request
from garrison.oauth.resource import same

METHODS = ("GET", "POST", "DELETE")
_ROUTING = frozenset({MCP_METHOD_HEADER, MCP_NAME_HEADER, MCP_PROTOCOL_VERSION_HEADER})
_ONCE = _ROUTING | {"authorization", "content-length", "content-type", "host", LAST_EVENT_ID, SESSION_ID, "origin"}
"""Headers that somebody decides by: of two copies, the guard could read one and the next in line the other."""
_JSON = "application/json"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Origin:
    """Judges by the resource's own address.

    Args:
        resource: the guarded server's URL; its host, origin and path are the only ones served without being asked for.
        allowed_hosts: further `Host` values (`host` or `host:port`), as a proxy in front may send them.
        allowed_origins: further `Origin` values of browser clients.
        max_body: bytes of a request body.
    """

    def __init__(
        self, resource: str, allowed_hosts: Iterable[str], allowed_origins: Iterable[str], max_body: int
    ) -> None:
        parts = urlsplit(resource)
        self._default_port = _DEFAULT_PORTS[parts.scheme]
        self._hosts = frozenset(self._host(host) for host in (parts.netloc, *allowed_hosts))
        own = f"{parts.scheme}://{self._host(parts.netloc)}"
        self._origins = frozenset(_origin(origin) for origin in (own, *allowed_origins))
        self.path = unquote(parts.path) or "/"
        self._max_body = max_body

    def check_host(self, request: Request) -> None:
        """Also for the metadata that anybody may read: a rebound name must not read it either.

        Raises:
            Refusal: a header that decides comes twice.
            Misdirected: `Host` is not ours.
        """
        for name in request.repeated and request.repeated & _ONCE:
            kind = HeaderMismatch if name in _ROUTING else Refusal
            raise kind(f"The {name} header may appear only once.")
        host = request.headers.get("host")
        if host is None:
            raise Refusal("The Host header is missing.")
        if host not in self._hosts and self._host(host) not in self._hosts:
            raise Misdirected("This server does not answer for that host.", reason=f"Host {host!r} is not allowed")

    def check(self, request: Request) -> None:
        """Raises a `Refusal` unless this is a plausible MCP request to our one path."""
        if request.path != self.path and not same(request.path, self.path):
            raise NotFound("There is nothing here.")
        headers = request.headers
        if (origin := headers.get("origin")) is not None:
            self._check_origin(origin)
        if request.method not in METHODS:
            raise MethodNotAllowed("Use POST, GET or DELETE.", headers={"allow": ", ".join(METHODS)})
        if request.query:
            _check_query(request.query)
        if request.method == "POST":
            if (content_type := headers.get("content-type", "")) != _JSON:
                _check_content_type(content_type)
            if (declared := headers.get("content-length")) is not None:
                self._check_declared_length(declared)

    def _check_origin(self, origin: str) -> None:
        if _origin(origin) not in self._origins:
            raise OriginRefused("Pages of that origin may not call this server.", reason=f"Origin {origin!r}")

    def _check_declared_length(self, declared: str) -> None:
        if not (declared.isascii() and declared.isdigit()):
            raise Refusal("The Content-Length header is not a number.")
        if len(declared) > len(str(self._max_body)) or int(declared) > self._max_body:
            raise TooLarge(f"The body may have at most {self._max_body} bytes.")

    def _host(self, host: str) -> str:
        return host.lower().removesuffix(self._default_port)


def _check_query(query: bytes) -> None:
    """RFC 6750 §2.3 as OAuth 2.1 has it: a token in a URI is in every log on the way, so it is no credential."""
    names = {name.lower() for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)}
    if "access_token" in names:
        raise Refusal("Send the access token in the Authorization header, never in the URL.")


def _check_content_type(content_type: str) -> None:
    media_type, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    if media_type.strip() != _JSON or charset not in {"", "charset=utf-8"}:
        raise UnsupportedMediaType("Send application/json, in UTF-8.")


def _origin(origin: str) -> str:
    """RFC 6454 §6.1's serialization, as browsers send it: a default port is left out."""
    lowered = origin.lower()
    return lowered.removesuffix(_DEFAULT_PORTS.get(lowered.partition("://")[0], ""))
