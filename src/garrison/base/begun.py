"""Awaiting what is usually there already: a timer is armed only for what really waits, as arming it costs more."""

from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """A coroutine that has run to its end, or to where it waits first; then it goes on when this is awaited.

    It must be awaited in the step of the task that began it: what it waits for goes through the task's hands once.

    Attributes:
        done: whether it has ended; `result` is what it gave.

    Raises:
        BaseException: whatever it raised.
    """

    result: T

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._awaited: Any = None
        self.done = False
        try:
            self._awaited = coroutine.send(None)
        except StopIteration as end:
            self.result = end.value
            self.done = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """What was not awaited to its end is given up."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        """PEP 380's `yield from`, entered after the first step."""
        while not self.done:
            try:
                go_on = partial(self._coroutine.send, (yield self._awaited))
            except BaseException as error:  # noqa: BLE001 - cancellation too is the coroutine's to see
                go_on = partial(self._coroutine.throw, error)
            try:
                self._awaited = go_on()
            except StopIteration as end:
                self.result = end.value
                self.done = True
        return self.result
