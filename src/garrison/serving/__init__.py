"""Serving ASGI applications with uvicorn, several in one process, TLS or plain HTTP on loopback."""

import asyncio
import contextlib
import errno
import functools
import gc
import secrets
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Generator, Sequence
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp

from garrison.base.addresses import is_loopback_host
from garrison.base.errors import GarrisonError, UsageError
from garrison.serving.connection import BoundedConnection, Bounds

GRACE_SECONDS = 2
"""How long requests that are under way may take to end when a server stops."""
KEEP_ALIVE_SECONDS = 15
_PORTS = range(20_000, 32_768)
"""Below those that systems give to outgoing connections: a free one stays free until it is bound."""


@dataclass(frozen=True)
class Endpoint:
    """One application at one address.

    Attributes:
        name: what a person calls it, for errors: "authorization server".
        sockets: bound by `bind`.
        ssl_context: None serves plain HTTP.
        bounds: what its connections may take.
    """

    name: str
    app: ASGIApp
    sockets: Sequence[socket.socket]
    ssl_context: ssl.SSLContext | None = None
    bounds: Bounds = field(default_factory=Bounds)


def bind(name: str, host: str, port: int, *, option: str = "--port") -> list[socket.socket]:
    """Sockets for `host`:`port`; localhost means both of its addresses, 127.0.0.1 and ::1.

    Raises:
        GarrisonError: the port is taken, or this user may not have it.
    """
    addresses = ["127.0.0.1", "::1"] if host == "localhost" else [host]
    bound: list[socket.socket] = []
    try:
        for address in addresses:
            with contextlib.suppress(_NoSuchAddressError):
                bound.append(_bind_one(address, port))
    except OSError as error:
        for open_socket in bound:
            open_socket.close()
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken" if taken else f"can't be had ({error.strerror})"
        raise GarrisonError(
            f"port {port} for the {name} {reason}", f"Stop what uses it, or choose another with {option}."
        ) from error
    return bound


def free_port(host: str, preferred: int) -> int:
    """`preferred` if it is free on `host`, else (and for 0) one that is."""
    while True:
        try:
            port = preferred or secrets.choice(_PORTS)
            for bound in bind("probe", host, port):
                bound.close()
        except GarrisonError:
            preferred = 0
        else:
            return port


def check_plain_http(host: str, *, behind_proxy: bool) -> None:
    """Plain HTTP stays on this machine, unless a TLS proxy is said to stand in front.

    Raises:
        UsageError: it would not.
    """
    if not behind_proxy and not is_loopback_host(host):
        raise UsageError(
            f"plain HTTP is served on loopback only, not on {host}",
            "Serve TLS, or say --behind-proxy where a proxy on a trusted network adds it.",
        )


@contextlib.asynccontextmanager
async def running(*endpoints: Endpoint) -> AsyncIterator[None]:
    """Serve `endpoints` while the block runs, and stop them in reverse order."""
    async with contextlib.AsyncExitStack() as stack:
        for endpoint in endpoints:
            await stack.enter_async_context(_serving(endpoint))
        yield


async def until_interrupted() -> None:
    """Return on SIGINT (Ctrl-C) or SIGTERM."""
    gc.collect()
    gc.freeze()  # what was made until now stays: looking through it again and again would hold requests up
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


class _NoSuchAddressError(Exception):
    """This machine has no such address (IPv6 may be off)."""


def _bind_one(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        created = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _NoSuchAddressError from error
    try:
        created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            created.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        created.bind((address, port))
        created.listen(2048)
        created.setblocking(False)
    except OSError as error:
        created.close()
        if address == "::1" and error.errno == errno.EADDRNOTAVAIL:
            raise _NoSuchAddressError from error
        raise
    return created


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: several servers share the process, and `until_interrupted` listens."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        # An application that can't start makes uvicorn end the process; here it is one server's failure.
        with contextlib.suppress(SystemExit):
            await super().serve(sockets)


@contextlib.asynccontextmanager
async def _serving(endpoint: Endpoint) -> AsyncIterator[None]:
    server = _Server(_config(endpoint))
    task = asyncio.create_task(server.serve(sockets=list(endpoint.sockets)), name=endpoint.name)
    try:
        while not server.started:
            if task.done():
                raise GarrisonError(f"the {endpoint.name} did not start", "Its log says why: set LOG_LEVEL=INFO.")
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        for bound in endpoint.sockets:  # uvicorn closes them itself, unless it never started
            bound.close()


def _config(endpoint: Endpoint) -> uvicorn.Config:
    context = endpoint.ssl_context
    return uvicorn.Config(
        endpoint.app,
        ssl_context_factory=(lambda _config, _default: context) if context else None,
        loop="none",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # the events are the log, and they never hold a query string
        server_header=False,
        proxy_headers=False,  # whoever needs a proxy's word says which proxy
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        http=functools.partial(BoundedConnection, endpoint.bounds),  # type: ignore[arg-type]  # any callable is called
    )
