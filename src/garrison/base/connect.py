"""Connecting to checked addresses only: the part of the guarded fetcher (fetch.py) that sits on httpcore's network.

A name is resolved once, all of its addresses are judged, and the connection goes to one of these, while the name stays
what TLS and the Host header go by: a second answer of the name service changes nothing (DNS rebinding).
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import httpcore2

from garrison.base.addresses import is_public
from garrison.base.errors import FetchError

RESOLVERS = 16
"""Look-ups of names at once. A name server that is silent holds its thread even when nobody waits any more."""


class Network:
    """httpcore's connections on that backend; `Fetcher` describes the arguments.

    Attributes:
        errors: what a request may raise, besides `FetchError`, `OSError` and a time limit.
    """

    errors = (
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.TimeoutException,
        httpcore2.UnsupportedProtocol,
        httpcore2.ConnectionNotAvailable,
    )

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        *,
        private_addresses: bool,
        connections: int,
        connect_to: Mapping[tuple[str, int], tuple[str, int]],
    ) -> None:
        self._backend = CheckedBackend(private_addresses=private_addresses, connect_to=connect_to)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=connections,
            max_keepalive_connections=0,  # fetches are rare, and an idle connection keeps the other side from stopping
            network_backend=self._backend,
        )

    def stream(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], content: bytes | None
    ) -> AbstractAsyncContextManager[httpcore2.Response]:
        return self._pool.stream(method, url, headers=list(headers), content=content)

    async def aclose(self) -> None:
        await self._pool.aclose()
        self._backend.close()


class CheckedBackend(httpcore2.AnyIOBackend):
    """httpcore's network, as `Fetcher` describes it.

    Names are looked up in threads of its own: silent name servers that somebody chose hold up nobody else's look-ups.
    """

    def __init__(self, *, private_addresses: bool, connect_to: Mapping[tuple[str, int], tuple[str, int]]) -> None:
        self._private_addresses = private_addresses
        self._connect_to = connect_to
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="garrison-resolver")

    def close(self) -> None:
        """No look-up begins any more; one that hangs is not waited for."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        host, port = self._connect_to.get((host, port), (host, port))
        addresses = await self._resolve(host, port)
        for address in addresses[:-1]:  # localhost is often two, and only one of them served
            try:
                return _closing(await super().connect_tcp(address, port, timeout, local_address, socket_options))
            except httpcore2.ConnectError:
                continue
        return _closing(await super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options))

    async def _resolve(self, host: str, port: int) -> list[str]:
        """The addresses of `host`. Raises `FetchError` unless all of them are allowed."""
        found = await asyncio.get_running_loop().run_in_executor(self._resolvers, _addresses, host, port)
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not (self._private_addresses or all(is_public(address) for address in addresses)):
            raise FetchError(
                "is at a special-use address, where this may not go",
                "If the server is meant to be there, give its address in the configuration.",
            )
        return addresses


def _addresses(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _closing(stream: httpcore2.AsyncNetworkStream) -> httpcore2.AsyncNetworkStream:
    """`stream`, closed if its TLS handshake is cancelled, as our time limit does; httpcore would leave it open."""
    start_tls = stream.start_tls

    async def start(*args: Any, **kwargs: Any) -> httpcore2.AsyncNetworkStream:
        try:
            return await start_tls(*args, **kwargs)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            raise

    stream.start_tls = start  # type: ignore[method-assign]  # a subclass would have to name httpcore's private one
    return stream
