"""The one guarded HTTP fetcher: every request that goes where somebody else's document says goes through here.

https only (plain http on loopback); the name is resolved first, special-use addresses are refused, and the connection
goes to the addresses that were checked, so that a second answer of the name service changes nothing; no redirect is
followed; size and time are bounded. This is the client's side of RFC 9700 §4.11 and of the server-side request forgery
rules of the Client ID Metadata Document draft.
"""

import json
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, urlencode, urlsplit

import anyio
import httpcore2

from garrison.base.addresses import is_loopback_host, is_public
from garrison.base.errors import FetchError

MAX_BYTES = 65_536
_SCHEMES = frozenset({"https", "http"})
_OK = 200


@dataclass(frozen=True)
class Fetched:
    """One answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises `FetchError` if it isn't."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise FetchError("the answer is not JSON") from error


class Fetcher:
    """Fetches small documents from addresses that somebody else may have chosen.

    Args:
        ssl_context: whom to trust; the system's authorities if None. Share one: loading authorities is slow.
        private_addresses: whether special-use addresses (loopback among them) may be reached: only where the address
            was configured by the operator, or the server that names it is on such an address itself.
        timeout: seconds for a whole request.
        connect_to: `host:port` of URLs -> `host:port` to connect to instead, as set by the operator (inside a container
            network the issuer's public name may lead nowhere). TLS still asks for the URL's host.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None = None,
        *,
        private_addresses: bool = False,
        timeout: float = 10.0,
        connect_to: Mapping[str, str] | None = None,
    ) -> None:
        self._timeout = timeout
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or ssl.create_default_context(),
            network_backend=_CheckedBackend(private_addresses=private_addresses, connect_to=connect_to or {}),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def get(self, url: str, *, max_bytes: int = MAX_BYTES) -> Fetched:
        """GET `url`. Raises `FetchError`; any status is an answer."""
        return await self.request("GET", url, max_bytes=max_bytes)

    async def get_json(self, url: str, *, max_bytes: int = MAX_BYTES) -> Any:
        """GET `url`, which must answer 200 with JSON. Raises `FetchError`."""
        answer = await self.get(url, max_bytes=max_bytes)
        if answer.status != _OK:
            raise FetchError(f"{_named(check_url(url))} answered {answer.status}")
        return answer.json()

    async def post_form(
        self, url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None, max_bytes: int = MAX_BYTES
    ) -> Fetched:
        """POST `form` to `url`. Raises `FetchError`; any status is an answer."""
        sent = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        content = urlencode(form).encode("ascii")
        return await self.request("POST", url, headers=sent, content=content, max_bytes=max_bytes)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> Fetched:
        """One request, by the rules of this module.

        Raises:
            FetchError: the URL or its address is not allowed, or no whole answer came in time and size. The sentence
                names the URL without its query.
        """
        parts = check_url(url)
        sent = {"host": parts.netloc, "accept": "application/json", **(headers or {})}
        target = parts._replace(fragment="").geturl()
        try:
            with anyio.fail_after(self._timeout):
                async with self._pool.stream(method, target, headers=list(sent.items()), content=content) as answer:
                    body = await _bounded(answer.aiter_stream(), max_bytes)
                    return Fetched(answer.status, _lowered(answer.headers), body)
        except FetchError as error:
            raise FetchError(f"{_named(parts)} {error.message}", error.hint) from error
        except (*_NETWORK_ERRORS, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise FetchError(f"{_named(parts)} did not answer: {reason}", _hint(reason)) from error


class _CheckedBackend(httpcore2.AnyIOBackend):
    """Connects to checked addresses only; the names stay what TLS and the Host header go by."""

    def __init__(self, *, private_addresses: bool, connect_to: Mapping[str, str]) -> None:
        self._private_addresses = private_addresses
        self._connect_to = dict(connect_to)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        if instead := self._connect_to.get(f"{host}:{port}"):
            host, _, other_port = instead.rpartition(":")
            port = int(other_port)
        addresses = await self._resolve(host, port)
        for address in addresses[:-1]:  # localhost is often two, and only one of them served
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore2.ConnectError:
                continue
        return await super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def _resolve(self, host: str, port: int) -> list[str]:
        """The addresses of `host`. Raises `FetchError` unless all of them are allowed."""
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not (self._private_addresses or all(is_public(address) for address in addresses)):
            raise FetchError(
                "is at a special-use address, where this may not go",
                "If the server is meant to be there, give its address in the configuration.",
            )
        return addresses


_NETWORK_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
    httpcore2.ConnectionNotAvailable,
)


def check_url(url: str) -> SplitResult:
    """The parts of `url`, if it may be fetched at all: https, or http on a loopback host; no user name.

    Raises:
        FetchError: it may not.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # urlsplit judges the port only when asked for it
    except ValueError as error:
        raise FetchError("the address is not a URL") from error
    printable = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in _SCHEMES or not parts.hostname or "@" in parts.netloc or not printable:
        raise FetchError(f"not an https address: {url[:100]!r}", "Addresses must be https (http on loopback only).")
    if parts.scheme == "http" and not is_loopback_host(parts.hostname):
        raise FetchError(f"{_named(parts)} is plain http off loopback", "Use its https address.")
    return parts


async def _bounded(stream: Any, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > max_bytes:
            raise FetchError(f"answered more than {max_bytes} bytes")
    return bytes(body)


def _lowered(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _named(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _hint(reason: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "Its certificate is not trusted: name the authority with --home, TLS_CA_CERT_PATH or SSL_CERT_FILE."
    return "Is the server running, and the address right?"
