"""The session with a remote server that outlives it: made when it is first needed, and made again when it has ended.

What can't have been carried out is sent again: the server refused it with its session, or it never left. What may have
been is sent again only if that changes nothing; the caller is told otherwise, and nothing is done twice.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup, TaskStatus
from mcp import types
from mcp.shared.dispatcher import ProgressFnT

from garrison.base.errors import GarrisonError
from garrison.base.events import one_line
from garrison.clients.errors import CallRefused, ConnectionLost, NotSent, ServerUnreachable, SessionEnded
from garrison.clients.session import Session
from garrison.clients.wire import RAW, AnyRequest, is_modern, may_repeat

log = logging.getLogger("garrison.bridge")

_T = TypeVar("_T")
PAUSES = (0.2, 1.0, 3.0)
"""Seconds before each further try of a request: a server that restarts is back by then."""
_GOODBYE = 3.0
_SLEPT = 20.0
_FIRST_RETURN, _LAST_RETURN = 0.5, 60.0
_CLOSED = ("Connection closed", "SSE stream ended", "SSE stream failed")
"""How the SDK says that the connection ended before the answer (code -32000, which servers use otherwise too)."""

Opening = Callable[[], AbstractAsyncContextManager[Session]]


class Unsure(GarrisonError):
    """A call that may or may not have been carried out."""


@dataclass
class _Held:
    """One session. Its task leaves it when it is `retired` and nobody is `using` it."""

    session: Session
    number: int
    using: int = 0
    retired: bool = False
    left: anyio.Event = field(default_factory=anyio.Event)
    gone: anyio.Event = field(default_factory=anyio.Event)

    def leave_if_unused(self) -> None:
        if self.retired and not self.using:
            self.left.set()


@dataclass(frozen=True)
class Clocks:
    """Seconds since any moment, by a clock that goes on while the machine sleeps, and by one that doesn't."""

    wall: Callable[[], float] = time.time
    awake: Callable[[], float] = time.monotonic

    def asleep(self) -> float:
        return self.wall() - self.awake()


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
        self._tasks = tasks
        self._opening = opening
        self._renewed = renewed
        self._pauses = pauses
        self._clocks = clocks or Clocks()
        self._asleep = self._clocks.asleep()
        self._lock = anyio.Lock()
        self._held: _Held | None = None
        self._count = 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """The session of now, which stays open while the block runs. Raises `GarrisonError`."""
        async with self._using() as held:
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
                async with self._using() as held:
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
        """Say goodbye to the server, for three seconds at most."""
        if held := self._held:
            self._held = None
            held.left.set()
            with anyio.move_on_after(_GOODBYE):
                await held.gone.wait()

    async def _once(
        self, held: _Held, method: str, params: dict[str, Any] | None, on_progress: ProgressFnT | None
    ) -> dict[str, Any]:
        try:
            return await self._sent(held.session, method, params, on_progress)
        except (SessionEnded, ConnectionLost):
            self._retire(held)
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

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[_Held]:
        held = await self._now()
        held.using += 1
        try:
            yield held
        finally:
            held.using -= 1
            held.leave_if_unused()

    async def _now(self) -> _Held:
        async with self._lock:
            asleep = self._clocks.asleep()
            if self._held and abs(asleep - self._asleep) > _SLEPT:
                log.info("the machine slept: connecting again")
                self._retire(self._held)
            self._asleep = asleep
            if self._held is None:
                try:
                    held: _Held = await self._tasks.start(self._hold)
                except (ConnectionLost, SessionEnded) as error:
                    raise NotSent(error.message, error.hint) from error  # no request has been made yet
                self._held = held
                log.info("connected, MCP %s", held.session.client.protocol_version)
                if held.number > 1:
                    self._tasks.start_soon(self._renewed, held.session)
            return self._held

    def _retire(self, held: _Held) -> None:
        """Use `held` for nothing new."""
        held.retired = True
        if self._held is held:
            self._held = None
        held.leave_if_unused()

    async def _watch(self, held: _Held) -> None:
        """A session whose server says things unasked is renewed when that breaks off, not with the next request."""
        await held.session.ended.wait()
        self._retire(held)
        self._tasks.start_soon(self._return)

    async def _return(self) -> None:
        """Connect again as soon as the server is there; what needs a person is left to the next request."""
        pause = _FIRST_RETURN
        while True:
            await anyio.sleep(pause)
            try:
                await self._now()
            except ServerUnreachable as error:
                log.info("the server is still away: %s", one_line(error.message))
                pause = min(2 * pause, _LAST_RETURN)
            except GarrisonError as error:
                log.warning("not connected again: %s", one_line(error.message))
                return
            else:
                return

    async def _hold(self, *, task_status: TaskStatus[_Held]) -> None:
        """Enter a session and leave it, in one task: the SDK's task groups want that."""
        held: _Held | None = None
        try:
            with anyio.CancelScope() as scope:
                async with self._opening() as session:
                    self._count += 1
                    held = _Held(session, self._count)
                    task_status.started(held)
                    async with anyio.create_task_group() as watching:
                        watching.start_soon(self._watch, held)
                        await held.left.wait()
                        watching.cancel_scope.cancel()
                    scope.deadline = anyio.current_time() + _GOODBYE
        except Exception as error:
            if held is None:
                raise
            log.warning("the session ended: %s", one_line(str(error)) or type(error).__name__)
        finally:
            if held:
                held.gone.set()


async def _told(session: Session, answer: Awaitable[_T]) -> _T:
    """`answer`, with the SDK's word for a broken connection told apart from the server's errors."""
    try:
        return await session.translate(answer)
    except CallRefused as refused:
        if refused.code == types.CONNECTION_CLOSED and refused.said.startswith(_CLOSED):
            raise ConnectionLost(f"the server's answer broke off ({refused.said})") from refused
        raise
