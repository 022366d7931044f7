"""Transactions that are asked for while one is under way are made together, as the next one: a commit waits for the
disk, and so whoever writes at the same time shares the wait.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from garrison.authserver.stores.own_writer import Act, Outcome

AT_ONCE = 100
"""At most, so that nobody else waits long for the database."""


_Waiting = list[tuple[Act, asyncio.Future[Any]]]


class Together:
    """Args:
    work: carries acts out, in a thread.
    turn: held meanwhile.
    """

    def __init__(self, work: Callable[[Sequence[Act]], Sequence[Outcome]], turn: asyncio.Lock) -> None:
        self._work = work
        self._turn = turn
        self._waiting: _Waiting = []
        self._task: asyncio.Task[None] | None = None

    async def do(self, act: Act) -> Any:
        """What `act` returns, once that is committed. When cancelled, it may be done all the same.

        Raises:
            Exception: what `act` raised, or why nothing could be committed; then it has not happened. That is so, too,
                when what writes is cancelled before it has come to `act`.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((act, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._ended)  # one that was cancelled before its first step never ran
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                async with self._turn:
                    taken = self._waiting[:AT_ONCE]
                    await self._carry_out(taken)
                    del self._waiting[: len(taken)]
        finally:
            self._ended(self._task)

    def _ended(self, task: asyncio.Task[None] | None) -> None:
        if task is not self._task:
            return
        self._task = None
        left, self._waiting = self._waiting, []
        for _, answer in left:  # there is none unless it was cancelled, or no thread can be had any more
            _settle(answer, Outcome(error=sqlite3.OperationalError("the writing has ended")))

    async def _carry_out(self, taken: _Waiting) -> None:
        """When cancelled it still waits for the thread, which has the connection that the next would use."""
        work = asyncio.get_running_loop().run_in_executor(None, self._outcomes, [act for act, _ in taken])
        try:
            await asyncio.wait([work])
        finally:
            if not work.done():
                await asyncio.wait([work])
            for (_, answer), outcome in zip(taken, work.result(), strict=True):
                _settle(answer, outcome)

    def _outcomes(self, acts: Sequence[Act]) -> Sequence[Outcome]:
        try:
            return self._work(acts)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            return [Outcome(error=error)] * len(acts)


def _settle(answer: asyncio.Future[Any], outcome: Outcome) -> None:
    if answer.done():  # cancelled: what was done stays, nobody asks for it
        return
    if outcome.error is None:
        answer.set_result(outcome.result)
    else:
        answer.set_exception(outcome.error)
