"""The HTTP client under an MCP session: bounded, without redirects or proxies, and a failed request fails alone.

An exception under the SDK's transport ends the whole session. So what goes wrong with one request (no token to be had,
the connection lost) is answered here as a JSON-RPC error of that request, and `Failures` gives the caller the exception
back.
"""

import math
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from importlib.metadata import version
from typing import Any, TypeVar, cast

import anyio
import httpx2
from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    Implementation,
)

from garrison.base.errors import GarrisonError
from garrison.clients.auth import UNAUTHORIZED, SessionAuth
from garrison.clients.errors import ConnectionLost, NotSent, ServerUnreachable, SessionEnded

_T = TypeVar("_T")

MAX_BODY = 16 * 1024 * 1024
"""Bytes of one JSON answer, or of one event of an event stream, which the SDK counts."""
_TIMEOUT = httpx2.Timeout(15.0, read=300.0)
_SESSION = "mcp-session-id"
_LISTENING_WITHIN = 5.0
_GOODBYE = 10.0
_GATEWAY_ERRORS = frozenset({502, 503, 504})
_NEVER_LEFT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_PROBES = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPALIVE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
}  # the second is macOS's first
_KEEP_ALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in _PROBES.items() if hasattr(socket, name)
]
"""A connection whose other end has gone (a laptop slept, a network changed) ends within a minute."""
_KEPT = 256
_FAILED = 503  # what the SDK sees; it looks at the JSON-RPC error in the body
_CODE = -32603  # JSON-RPC 2.0: internal error
CLIENT_INFO = Implementation(name="garrison", version=version("garrison"))
_MODERN = "2026-07-28"  # the first revision without a handshake
_ABOUT_US = {
    PROTOCOL_VERSION_META_KEY: _MODERN,
    CLIENT_CAPABILITIES_META_KEY: {},
    CLIENT_INFO_META_KEY: CLIENT_INFO.model_dump(by_alias=True, exclude_none=True),
}
_PROBE = {"jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {"_meta": _ABOUT_US}}
_PROBE_HEADERS = {"mcp-method": "server/discover", "mcp-protocol-version": _MODERN}
_LEGACY_PROBE = {"jsonrpc": "2.0", "id": 0, "method": "ping"}  # the one request that may come before the handshake
_ACCEPT = {"accept": "application/json, text/event-stream"}
_MARK = "garrison-failure"


class Failures:
    """Exceptions by the random number that their JSON-RPC error carries, which no server can guess."""

    def __init__(self) -> None:
        self._kept: dict[str, GarrisonError] = {}

    def put(self, error: GarrisonError) -> dict[str, str]:
        if len(self._kept) >= _KEPT:  # of requests that nobody waits for
            del self._kept[next(iter(self._kept))]
        number = secrets.token_hex(16)
        self._kept[number] = error
        return {_MARK: number}

    def take(self, data: Any) -> GarrisonError | None:
        return self._kept.pop(str(data.get(_MARK)), None) if isinstance(data, dict) else None


class SessionHttpClient(httpx2.AsyncClient):
    """An httpx2 client whose requests don't raise: failures come back as JSON-RPC errors, by way of `failures`.

    `ended` is set when the stream of what the server says unasked can't be had (any more); `listening` when it is open,
    or won't be.

    Args:
        auth: puts the token into each request.
        context: whom to trust.
        seconds: for a whole answer; an event stream may last longer, its beginning may not.
    """

    def __init__(self, auth: SessionAuth, context: ssl.SSLContext, seconds: float) -> None:
        super().__init__(
            auth=auth,
            transport=_BoundedTransport(context, seconds),
            timeout=_TIMEOUT,
            follow_redirects=False,
            headers={"accept-encoding": "identity"},
            trust_env=False,  # only config.py reads the environment
        )
        self.failures = Failures()
        self.ended = anyio.Event()
        self.listening = anyio.Event()
        self._has_session = False

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            if request.method == "GET":  # the stream of what the server says unasked: it may be silent for hours
                request.extensions["timeout"] = {**request.extensions.get("timeout", {}), "read": None}
            response = await super().send(request, **options)
            self._has_session |= _SESSION in response.headers
            if refused := _lost(request, response):
                await response.aclose()
                raise refused
            if "json" in response.headers.get("content-type", ""):
                await response.aread()  # here, where a broken connection is caught
        except GarrisonError as error:
            if request.method == "GET":
                self.ended.set()
            return self._failed(request, error)
        except (httpx2.RequestError, httpx2.StreamError) as error:
            if request.method == "GET":
                self.ended.set()
            return self._failed(request, unreachable(str(request.url), error))
        finally:
            if request.method == "GET":
                self.listening.set()
        return response

    async def until_listening(self) -> None:
        """Wait until the stream of what the server says unasked is open: what it says before that is lost.

        MCP up to 2025-11-25 has that stream, in sessions. Some servers begin to answer only when they have something to
        say: they are not waited for.
        """
        if self._has_session:
            with anyio.move_on_after(_LISTENING_WITHIN):
                await self.listening.wait()

    async def knock(self, url: str, *, legacy: bool = False) -> httpx2.Headers | None:
        """The headers of the 401 that `url` answers to a request without a token; None if it wants none.

        The request is a valid one, of the older era where `legacy`: there may be nothing to stop it.

        Raises:
            ServerUnreachable: it doesn't answer.
        """
        probe, headers = (_LEGACY_PROBE, _ACCEPT) if legacy else (_PROBE, {**_ACCEPT, **_PROBE_HEADERS})
        request = self.build_request("POST", url, json=probe, headers=headers)
        try:
            response = await super().send(request, auth=None, stream=True)
        except httpx2.RequestError as error:
            raise unreachable(url, error) from error
        await response.aclose()
        return response.headers if response.status_code == UNAUTHORIZED else None

    def _failed(self, request: httpx2.Request, error: GarrisonError) -> httpx2.Response:
        answer = {"code": _CODE, "message": error.message, "data": self.failures.put(error)}
        return httpx2.Response(_FAILED, json={"jsonrpc": "2.0", "id": None, "error": answer}, request=request)


def unreachable(url: str, error: Exception) -> ServerUnreachable:
    reason = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        hint = (
            "Its certificate is not trusted: name its authority with ca_file (TLS_CA_CERT_PATH, SSL_CERT_FILE, --home)."
        )
    else:
        hint = "Is the server running, and the address right?"
    kind = NotSent if isinstance(error, _NEVER_LEFT) else ConnectionLost
    return kind(f"{url} did not answer: {reason}", hint)


def _lost(request: httpx2.Request, response: httpx2.Response) -> ServerUnreachable | None:
    """What `response` says of the way to the server rather than of the request."""
    if response.status_code == httpx2.codes.NOT_FOUND and _SESSION in request.headers:
        # MCP 2025-11-25, transports, session management: 404 means that the session is over.
        return SessionEnded(f"{request.url} has ended the session", "Connect again.")
    if response.status_code in _GATEWAY_ERRORS and "json" not in response.headers.get("content-type", ""):
        return ConnectionLost(f"{request.url} answered {response.status_code}", "Is the server behind it running?")
    return None


class _BoundedTransport(httpx2.AsyncHTTPTransport):
    """Answers of bounded size and time. They come uncompressed: a megabyte of zeros fits into a kilobyte."""

    def __init__(self, context: ssl.SSLContext, seconds: float) -> None:
        super().__init__(verify=context, trust_env=False, socket_options=_KEEP_ALIVE)
        self._seconds = seconds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":  # the stream of what the server says unasked
            clock = _Deadline(math.inf)
        else:
            clock = _Deadline(min(self._seconds, _GOODBYE) if request.method == "DELETE" else self._seconds)
        response = await clock.bound(super().handle_async_request(request))
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the answer is compressed, which was not asked for")
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = _BoundedStream(cast("httpx2.AsyncByteStream", response.stream), clock)
        return response


class _Deadline:
    """`seconds` from now, for all parts of one answer together: a byte a minute is no sign of life."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = anyio.current_time() + seconds

    async def bound(self, part: Awaitable[_T]) -> _T:
        """`part`. Raises `httpx2.ReadTimeout` where it is not there in time."""
        try:
            with anyio.fail_after(self._at - anyio.current_time()):
                return await part
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no whole answer in {self._seconds:.0f} s") from error


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, clock: _Deadline) -> None:
        self._stream = stream
        self._clock = clock

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, chunks = 0, aiter(self._stream)
        with suppress(StopAsyncIteration):
            while True:
                chunk = await self._clock.bound(anext(chunks))
                size += len(chunk)
                if size > MAX_BODY:
                    raise httpx2.RemoteProtocolError(f"the answer is larger than {MAX_BODY} bytes")
                yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
