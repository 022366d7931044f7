"""The session with a remote server, made when it is first needed, and made again when it has ended.

It has ended when the server says so, when its stream breaks off, or when the machine slept: connections don't survive
that, and may not say so.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from garrison.base.errors import GarrisonError
from garrison.base.events import one_line
from garrison.clients.errors import ConnectionLost, NotSent, ServerUnreachable, SessionEnded
from garrison.clients.session import Session

log = logging.getLogger("garrison.bridge")

_GOODBYE = 3.0
_SLEPT = 20.0
_FIRST_RETURN, _LAST_RETURN = 0.5, 60.0

Opening = Callable[[], AbstractAsyncContextManager[Session]]


@dataclass
class Held:
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


class Keeper:
    """Keeps one session; see `Link` for the arguments."""

    def __init__(
        self,
        tasks: TaskGroup,
        opening: Opening,
        renewed: Callable[[Session], Coroutine[Any, Any, None]],
        clocks: Clocks,
    ) -> None:
        self._tasks = tasks
        self._opening = opening
        self._renewed = renewed
        self._clocks = clocks
        self._asleep = clocks.asleep()
        self._lock = anyio.Lock()
        self._held: Held | None = None
        self._count = 0

    async def close(self) -> None:
        """Say goodbye to the server, for three seconds at most."""
        if held := self._held:
            self._held = None
            held.left.set()
            with anyio.move_on_after(_GOODBYE):
                await held.gone.wait()

    @asynccontextmanager
    async def using(self) -> AsyncIterator[Held]:
        held = await self._now()
        held.using += 1
        try:
            yield held
        finally:
            held.using -= 1
            held.leave_if_unused()

    async def _now(self) -> Held:
        async with self._lock:
            asleep = self._clocks.asleep()
            if self._held and abs(asleep - self._asleep) > _SLEPT:
                log.info("the machine slept: connecting again")
                self.retire(self._held)
            self._asleep = asleep
            if self._held is None:
                try:
                    held: Held = await self._tasks.start(self._hold)
                except (ConnectionLost, SessionEnded) as error:
                    raise NotSent(error.message, error.hint) from error  # no request has been made yet
                self._held = held
                log.info("connected, MCP %s", held.session.client.protocol_version)
                if held.number > 1:
                    self._tasks.start_soon(self._renewed, held.session)
            return self._held

    def retire(self, held: Held) -> None:
        """Use `held` for nothing new."""
        held.retired = True
        if self._held is held:
            self._held = None
        held.leave_if_unused()

    async def _watch(self, held: Held) -> None:
        """A session whose server says things unasked is renewed when that breaks off, not with the next request."""
        await held.session.ended.wait()
        self.retire(held)
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

    async def _hold(self, *, task_status: TaskStatus[Held]) -> None:
        """Enter a session and leave it, in one task: the SDK's task groups want that."""
        held: Held | None = None
        try:
            with anyio.CancelScope() as scope:
                async with self._opening() as session:
                    self._count += 1
                    held = Held(session, self._count)
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
