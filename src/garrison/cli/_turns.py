"""The turns of a chat. The event loop runs in a thread of its own, so that this one has the terminal and its signals.

What happens in a turn comes here as steps, each a function that shows it. Ctrl-C meets this thread where it waits for
the next step, or for the person, and cancels the turn; the session goes on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from garrison.cli._screen import Screen
from garrison.clients.adapters import Adapter
from garrison.clients.answer import Answer, Call
from garrison.clients.question import Options
from garrison.clients.session import Session

if TYPE_CHECKING:
    Steps = SimpleQueue[Callable[[], None] | None]


@contextmanager
def event_loop() -> Iterator[BlockingPortal]:
    """An event loop in a thread of its own: uvloop's where it is installed."""
    try:
        import uvloop  # noqa: F401
    except ImportError:
        use_uvloop = False
    else:
        use_uvloop = True
    with start_blocking_portal("asyncio", {"use_uvloop": use_uvloop}) as portal:
        yield portal


class Turns:
    """A conversation over one session.

    Args:
        portal: the event loop that `session` lives in.
        adapter: who is asked.
        options: how; the conversation's history is kept here.
        screen: where it is shown.
        ask_first: whether the person is asked before each call.
    """

    def __init__(
        self,
        portal: BlockingPortal,
        session: Session,
        adapter: Adapter,
        options: Options,
        screen: Screen,
        *,
        ask_first: bool,
    ) -> None:
        self._portal = portal
        self._session = session
        self._adapter = adapter
        self._screen = screen
        self._ask_first = ask_first
        self._options: Options = {**options, "history": []}

    def ask(self, question: str) -> Answer:
        """The answer to `question`.

        Raises:
            KeyboardInterrupt: the person has ended the turn, which is over when this is raised.
            GarrisonError: there is no answer.
        """
        steps: Steps = SimpleQueue()
        answer = self._portal.start_task_soon(self._turn, question, steps)
        try:
            while step := steps.get():
                step()
        except KeyboardInterrupt:
            answer.cancel()
            while steps.get():
                pass
            raise
        finally:
            self._screen.end()
        return answer.result()

    async def _turn(self, question: str, steps: "Steps") -> Answer:
        options: Options = {
            **self._options,
            "on_call": lambda call: steps.put(partial(self._screen.result, call)),
            "on_text": (lambda text: steps.put(partial(self._screen.text, text))) if self._screen.streams else None,
            "approve": partial(self._approve, steps),
        }
        try:
            return await self._adapter.run(self._session, question, **options)
        finally:
            steps.put(None)

    async def _approve(self, steps: "Steps", call: Call) -> bool:
        if not self._ask_first:
            steps.put(partial(self._screen.call, call))
            return True
        answered, said = anyio.Event(), [False]

        def ask() -> None:
            said[0] = self._screen.allows(call)
            self._portal.call(answered.set)

        steps.put(ask)
        await answered.wait()
        return said[0]
