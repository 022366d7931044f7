"""Requests to a remote server that outlive its session (keeper.py), and are never carried out twice.

What can't have been carried out is sent again: the server refused it with its session, or it never left. What may have
been is sent again only if that changes nothing; the caller is told otherwise.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup
from mcp import types
from mcp.shared.dispatcher import ProgressFnT

from garrison.base.errors import GarrisonError
from garrison.base.events import one_line
from garrison.clients.errors import CallRefused, ConnectionLost, NotSent, ServerUnreachable, SessionEnded
from garrison.clients.keeper import Clocks, Held, Keeper, Opening
from garrison.clients.session import Session
from garrison.clients.wire import RAW, AnyRequest, is_modern, may_repeat

log = logging.getLogger("garrison.bridge")

_T = TypeVar("_T")
PAUSES = (0.2, 1.0, 3.0)
"""Seconds before each further try of a request: a server that restarts is back by then."""
_CLOSED = ("Connection closed", "SSE stream ended", "SSE stream failed")
"""How the SDK says that the connection ended before the answer (code -32000, which servers use otherwise too)."""


class Unsure(GarrisonError):
    """A call that may or may not have been carried out."""


class Link:
    """Requests to one remote server.

    Args:
        tasks: where the sessions' tasks run.
        opening: a session that is not entered yet.
        renewed: called after a session took the place of another one.
        pauses: seconds before each further try.
        clocks: for noticing that the machine slept: connections don't survive that, and may not say so.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        opening: Opening,
        renewed: Callable[[Session], Coroutine[Any, Any, None]],
        *,
        pauses: tuple[float, ...] = PAUSES,
        clocks: Clocks | None = None,
    ) -> None:
        self._keeper = Keeper(tasks, opening, renewed, clocks or Clocks())
        self._pauses = pauses

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """The session of now, which stays open while the block runs. Raises `GarrisonError`."""
        async with self._keeper.using() as held:
            yield held.session

    async def request(
        self, method: str, params: dict[str, Any] | None, on_progress: ProgressFnT | None = None
    ) -> tuple[dict[str, Any], str]:
        """The result of a request as it came, and the MCP version that it came in.

        Raises:
            CallRefused: the server answered with an error.
            Unsure: the connection ended before the answer did, and the request is none to repeat.
            GarrisonError: it could not be sent.
        """
        pauses = iter(self._pauses)
        while True:
            try:
                async with self._keeper.using() as held:
                    return await self._once(held, method, params, on_progress), held.session.client.protocol_version
            except ConnectionLost as error:
                if not may_repeat(method):
                    raise Unsure(
                        f"the connection was lost during {method}: it may or may not have been carried out",
                        "It was not repeated. Look whether it was, before you do it again.",
                    ) from error
                failure: ServerUnreachable = error
            except (SessionEnded, NotSent) as error:
                failure = error
            if (pause := next(pauses, None)) is None:
                raise failure
            log.warning("%s: %s; once more in %.1f s", method, one_line(failure.message), pause)
            await anyio.sleep(pause)

    async def close(self) -> None:
        await self._keeper.close()

    async def _once(
        self, held: Held, method: str, params: dict[str, Any] | None, on_progress: ProgressFnT | None
    ) -> dict[str, Any]:
        try:
            return await self._sent(held.session, method, params, on_progress)
        except (SessionEnded, ConnectionLost):
            self._keeper.retire(held)
            raise

    @staticmethod
    async def _sent(
        session: Session, method: str, params: dict[str, Any] | None, on_progress: ProgressFnT | None
    ) -> dict[str, Any]:
        mcp = session.client.session
        if method == "tools/list" and is_modern(session.client.protocol_version):
            # Parsed, so that the SDK learns which arguments go into headers (MCP 2026-07-28, x-mcp-header).
            asked = types.PaginatedRequestParams.model_validate(params or {}, by_name=False)
            listed = await _told(session, mcp.list_tools(params=asked))
            return listed.model_dump(by_alias=True, mode="json", exclude_none=True)
        request = AnyRequest(method=method, params=params)
        return await _told(session, mcp.send_request(request, RAW, progress_callback=on_progress))


async def _told(session: Session, answer: Awaitable[_T]) -> _T:
    """`answer`, with the SDK's word for a broken connection told apart from the server's errors."""
    try:
        return await session.translate(answer)
    except CallRefused as refused:
        if refused.code == types.CONNECTION_CLOSED and refused.said.startswith(_CLOSED):
            raise ConnectionLost(f"the server's answer broke off ({refused.said})") from refused
        raise
