"""A stdio MCP server that is a guarded remote one: what Claude Desktop starts, so that it needs no OAuth of its own.

Every request goes through the session, which carries the token; the local program never sees it. What the remote server
offers is offered, under its own name; standard output carries MCP alone, whatever else is said goes to standard error.

On the SDK's low-level server rather than FastMCP's proxy: FastMCP is an extra that a client needn't install, and its
proxy speaks one era to each side.
"""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from io import TextIOWrapper
from typing import Any, BinaryIO

import anyio
from mcp.server.stdio import stdio_server

from garrison.clients.destination import check_configured
from garrison.clients.relay import Relay
from garrison.clients.session import Session, connect
from garrison.clients.tokens import MemoryTokens

log = logging.getLogger("garrison.bridge")

Wire = tuple[BinaryIO, BinaryIO]
_CHUNK = 64 * 1024
_LAST = 3.0
"""Seconds that the bridge takes to say goodbye, at most."""


Found = Callable[[], Awaitable[Mapping[str, Any]]]


async def bridge(url: str, *, wire: Wire | None = None, found: Found | None = None, **options: Any) -> None:
    """Serve the MCP server at `url` on standard input and output, until the input ends.

    The remote server is connected to by the first request, whose answer says what is wrong if that fails.

    Args:
        url: as for `session.connect`.
        wire: standard input and output, where something else was put in their place (see cli/bridge.py).
        found: finds more options, whenever a session is made.
        options: the others of `session.connect`. Bridges with a common `storage` log in once: see token_source.py.

    Raises:
        UsageError: the arguments don't fit together.
    """
    check_configured(url)
    memory = MemoryTokens()  # a session that is made anew needs no new login

    @asynccontextmanager
    async def opened(mcp_options: Mapping[str, Any]) -> AsyncIterator[Session]:
        known = {**options, **(await found() if found else {})}
        known["storage"] = known.get("storage") or memory
        async with connect(url, mcp_options=mcp_options, **known) as session:
            yield session

    try:
        async with anyio.create_task_group() as tasks:
            ended = anyio.Event()
            async with _stdio(wire, ended) as (incoming, outgoing):
                tasks.start_soon(_leave, tasks.cancel_scope, ended)
                relay = Relay(tasks, opened)
                await relay.server.run(incoming, outgoing, relay.server.create_initialization_options())
                await relay.close()
            tasks.cancel_scope.cancel()
    except* BrokenPipeError:
        log.info("the client has gone")


def _stdio(wire: Wire | None, ended: anyio.Event) -> AbstractAsyncContextManager[Any]:
    if wire is None:
        return stdio_server()
    incoming: Any = _Lines(wire[0].fileno(), ended)
    return stdio_server(incoming, anyio.wrap_file(TextIOWrapper(wire[1], encoding="utf-8")))


class _Lines:
    """The lines that come by file descriptor `source`.

    `ended` is set behind the last one, even while nobody takes the messages in them; and unlike a file of anyio's,
    these can be given up while nothing comes.
    """

    def __init__(self, source: int, ended: anyio.Event) -> None:
        self._source = source
        self._ended = ended

    async def __aiter__(self) -> AsyncIterator[str]:
        begun: list[bytes] = []
        while chunk := await self._read():
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                yield b"".join([*begun, end]).decode(errors="replace")  # what is not UTF-8 is no MCP either
                begun.clear()
            begun.append(rest)
        self._ended.set()

    async def _read(self) -> bytes:
        with suppress(PermissionError):  # which is what is said of a file: it needs no waiting for
            await anyio.wait_readable(self._source)
        return os.read(self._source, _CHUNK)


async def _leave(scope: anyio.CancelScope, ended: anyio.Event) -> None:
    """Give up what is still under way (a login that nobody waits for any more) when the client has gone."""
    await ended.wait()
    await anyio.sleep(_LAST)
    scope.cancel()
