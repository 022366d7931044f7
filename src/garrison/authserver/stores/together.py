"""Transactions that are asked for while one is under way are made together, as the next one: a commit waits for the
disk, and so whoever writes at the same time shares the wait.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from garrison.authserver.stores.own_writer import Act, Outcome

AT_ONCE = 100
"""At most, so that nobody else waits long for the database."""


class Together:
    """Args:
    work: carries acts out, in a thread.
    turn: held meanwhile.
    """

    def __init__(self, work: Callable[[Sequence[Act]], Sequence[Outcome]], turn: asyncio.Lock) -> None:
        self._work = work
        self._turn = turn
        self._waiting: list[tuple[Act, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None

    async def do(self, act: Act) -> Any:
        """What `act` returns, once that is committed. When cancelled, it may be done all the same.

        Raises:
            Exception: what `act` raised, or why nothing could be committed; then it has not happened.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((act, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                async with self._turn:
                    taken, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                    outcomes = await self._outcomes([act for act, _ in taken])
                for (_, answer), outcome in zip(taken, outcomes, strict=True):
                    _settle(answer, outcome)
        finally:
            self._task = None

    async def _outcomes(self, acts: Sequence[Act]) -> Sequence[Outcome]:
        try:
            return await asyncio.to_thread(self._work, acts)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            return [Outcome(error=error)] * len(acts)


def _settle(answer: asyncio.Future[Any], outcome: Outcome) -> None:
    if answer.done():  # cancelled: what was done stays, nobody asks for it
        return
    if outcome.error is None:
        answer.set_result(outcome.result)
    else:
        answer.set_exception(outcome.error)
