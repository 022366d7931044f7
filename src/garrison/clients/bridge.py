"""A stdio MCP server that is a guarded remote one: what Claude Desktop starts, so that it needs no OAuth of its own.

Every request goes through the session, which carries the token; the local program never sees it. What the remote server
offers is offered, under its own name; standard output carries MCP alone, whatever else is said goes to standard error.

On the SDK's low-level server rather than FastMCP's proxy: FastMCP is an extra that a client needn't install, and its
proxy speaks one era to each side.
"""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
from mcp.server.stdio import stdio_server

from garrison.base.files import locked
from garrison.clients.destination import check_configured
from garrison.clients.relay import Relay
from garrison.clients.session import Session, connect
from garrison.clients.tokens import MemoryTokens


async def bridge(url: str, *, wire: BinaryIO | None = None, lock: Path | None = None, **options: Any) -> None:
    """Serve the MCP server at `url` on standard input and output, until the input ends.

    The remote server is connected to by the first request, whose answer says what is wrong if that fails.

    Args:
        url: as for `session.connect`.
        wire: standard output, where something else was put in its place (see cli/bridge.py).
        lock: a file that bridges to one server hold while they log in, so that a person is asked once: the second
            one finds the first one's token in their common `storage`.
        options: the others of `session.connect`.

    Raises:
        UsageError: the arguments don't fit together.
    """
    check_configured(url)
    options["storage"] = options.get("storage") or MemoryTokens()  # a session that is made anew needs no new login

    @asynccontextmanager
    async def opened(mcp_options: Mapping[str, Any]) -> AsyncIterator[Session]:
        async with AsyncExitStack() as stack:
            async with one_login(lock):
                session = await stack.enter_async_context(connect(url, mcp_options=mcp_options, **options))
            yield session

    out = anyio.wrap_file(TextIOWrapper(wire, encoding="utf-8")) if wire else None
    async with anyio.create_task_group() as tasks, stdio_server(stdout=out) as (incoming, outgoing):
        relay = Relay(tasks, opened)
        await relay.server.run(incoming, outgoing, relay.server.create_initialization_options())
        await relay.close()
        tasks.cancel_scope.cancel()
    sys.stderr.flush()


@asynccontextmanager
async def one_login(lock: Path | None) -> AsyncIterator[None]:
    """Hold the lock file `lock` while the block runs; None for a login that nobody else can make."""
    if lock is None:
        yield
        return
    holding = locked(lock)
    await anyio.to_thread.run_sync(holding.__enter__)  # it waits for whoever logs in, who has a time limit
    try:
        yield
    finally:
        holding.__exit__(None, None, None)
