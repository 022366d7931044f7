"""The one guarded HTTP fetcher: every request that goes where somebody else's document says goes through here.

https only (plain http on loopback); the name is resolved first, special-use addresses are refused, and the connection
goes to the addresses that were checked, so that a second answer of the name service changes nothing; no redirect is
followed; size and time are bounded. This is the client's side of RFC 9700 §4.11 and of the server-side request forgery
rules of the Client ID Metadata Document draft.
"""

import json
import math
import re
import ssl
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlencode, urlsplit

import anyio

from garrison.base.addresses import is_loopback_host
from garrison.base.errors import FetchError, UsageError

if TYPE_CHECKING:
    from garrison.base.connect import Network

MAX_BYTES = 65_536
_NETLOC = re.compile(
    r"([^\[\]@:\\]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?"
)  # urlsplit takes `evil.example[::1]` for the host ::1
_SCHEMES = frozenset({"https", "http"})
_OK = 200
_MANY = 100
"""Connections at once where the caller sets no bound."""


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
        at_once: requests at once; one more is refused without waiting. None is no bound.
        at_once_each: requests at once for one `asker`, likewise.
        connect_to: `host:port` of URLs -> `host:port` to connect to instead, as set by the operator (inside a container
            network the issuer's public name may lead nowhere). TLS still asks for the URL's host.

    Raises:
        UsageError: an entry of `connect_to` is not `host:port`.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None = None,
        *,
        private_addresses: bool = False,
        timeout: float = 10.0,
        at_once: int | None = None,
        at_once_each: int | None = None,
        connect_to: Mapping[str, str] | None = None,
    ) -> None:
        self._timeout = timeout
        self._at_once = math.inf if at_once is None else at_once
        self._at_once_each = math.inf if at_once_each is None else at_once_each
        self._askers = Counter[str]()
        self._ssl_context = ssl_context
        self._private_addresses = private_addresses
        self._connections = at_once or _MANY
        self._connect_to = {_host_port(public): _host_port(actual) for public, actual in (connect_to or {}).items()}
        self._network: Network | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._network is not None:
            await self._network.aclose()

    async def get(self, url: str, *, max_bytes: int = MAX_BYTES, asker: str = "") -> Fetched:
        """GET `url`, because `asker` wants it. Raises `FetchError`; any status is an answer."""
        return await self.request("GET", url, max_bytes=max_bytes, asker=asker)

    async def get_json(self, url: str, *, max_bytes: int = MAX_BYTES, asker: str = "") -> Any:
        """GET `url`, which must answer 200 with JSON. Raises `FetchError`."""
        answer = await self.get(url, max_bytes=max_bytes, asker=asker)
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
        asker: str = "",
    ) -> Fetched:
        """One request, by the rules of this module.

        Raises:
            FetchError: the URL or its address is not allowed, or no whole answer came in time and size. The sentence
                names the URL without its query.
        """
        parts = check_url(url)
        _check_headers(headers or {})
        sent = {"host": parts.netloc, "accept": "application/json", **(headers or {})}
        target = parts._replace(fragment="").geturl()
        if self._askers.total() >= self._at_once or self._askers[asker] >= self._at_once_each:
            raise FetchError(f"{_named(parts)} was not asked: too many others are being waited for", "Try again soon.")
        self._askers[asker] += 1
        try:
            with anyio.fail_after(self._timeout):
                async with self._opened().stream(method, target, list(sent.items()), content) as answer:
                    body = await _bounded(answer.aiter_stream(), max_bytes)
                    return Fetched(answer.status, _lowered(answer.headers), body)
        except FetchError as error:
            raise FetchError(f"{_named(parts)} {error.message}", error.hint) from error
        except (*self._opened().errors, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise FetchError(f"{_named(parts)} did not answer: {reason}", _hint(reason)) from error
        finally:
            self._askers -= Counter([asker])  # which forgets who waits for nothing

    def _opened(self) -> "Network":
        """Made for the first request: most servers fetch nothing, and httpcore2 and the authorities take 150 ms."""
        if self._network is None:
            from garrison.base.connect import Network  # noqa: PLC0415

            context = self._ssl_context or ssl.create_default_context()
            self._network = Network(
                context,
                private_addresses=self._private_addresses,
                connections=self._connections,
                connect_to=self._connect_to,
            )
        return self._network


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
    if parts.scheme not in _SCHEMES or not _NETLOC.fullmatch(parts.netloc) or not printable:
        # Not the URL itself: it may carry a password or, in its query, a code.
        named = f"{parts.scheme}://{parts.hostname or ''}"[:100]
        raise FetchError(f"not an https address: {named!r}", "Addresses must be https (http on loopback only).")
    if parts.scheme == "http" and not is_loopback_host(parts.hostname or ""):
        raise FetchError(f"{_named(parts)} is plain http off loopback", "Use its https address.")
    return parts


def _check_headers(headers: Mapping[str, str]) -> None:
    """Before the HTTP library does: its complaint would quote the value, which may be a credential."""
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise FetchError(f"the {name} header to send has characters that no header may have")


async def _bounded(stream: Any, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > max_bytes:
            raise FetchError(f"answered more than {max_bytes} bytes")
    return bytes(body)


def _lowered(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields by lower-case name; a repeated one is joined by commas (RFC 9110 §5.3)."""
    lowered: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        lowered[key] = f"{lowered[key]}, {text}" if key in lowered else text
    return lowered


def _named(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _hint(reason: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "Its certificate is not trusted: name the authority with --home, TLS_CA_CERT_PATH or SSL_CERT_FILE."
    return "Is the server running, and the address right?"


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"connect_to: {text!r} is not host:port")
    return host.strip("[]").lower(), int(port)
