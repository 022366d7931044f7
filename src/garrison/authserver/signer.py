"""Signing off the event loop: OpenSSL lets go of the interpreter's lock meanwhile, so other requests go on.

Threads of our own with one queue: the general way into a thread (anyio's) costs a fifth of an RSA signature, this one
a twentieth.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

THREADS = 2


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], str]
    answer: asyncio.Future[str]


class Signer:
    """Between `start` and `stop` it signs for the event loop that has started it."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = [threading.Thread(target=self._run, name="signer", daemon=True) for _ in range(threads)]
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: deque[tuple[_Job, str | Exception]] = deque()
        self._told = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Returns when what was asked for is signed."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            if thread.is_alive():
                await asyncio.to_thread(thread.join)

    async def sign(self, work: Callable[[], str]) -> str:
        """What `work` returns or raises, in a thread."""
        if self._loop is None:
            raise RuntimeError("the signer was not started")
        job = _Job(work, self._loop.create_future())
        self._jobs.put(job)
        return await job.answer

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                outcome: str | Exception = job.work()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is for whoever waits
                outcome = error
            self._done.append((job, outcome))
            self._tell()

    def _tell(self) -> None:
        """Wake the event loop, once for all that is done by the time it looks."""
        if self._told or self._loop is None:
            return
        self._told = True
        with suppress(RuntimeError):  # the loop has ended, and who waited on it with it
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._told = False  # first, so that what is done from now on is told anew
        while self._done:
            job, outcome = self._done.popleft()
            if job.answer.done():  # cancelled: the client went away
                continue
            if isinstance(outcome, Exception):
                job.answer.set_exception(outcome)
            else:
                job.answer.set_result(outcome)
