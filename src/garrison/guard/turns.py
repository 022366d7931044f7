"""A few places, which askers take in turn: who has many waiting is served no more often than who has one."""

from collections import Counter, OrderedDict

import anyio


class Turns:
    """Nothing is kept of an asker who neither has a place nor waits for one.

    Args:
        at_once: places.
        of_one: those of them that one asker may have.
    """

    def __init__(self, at_once: int, of_one: int) -> None:
        self._free = at_once
        self._of_one = of_one
        self._taken: Counter[str] = Counter()
        # Askers in the order of their turns; of each, those who wait, first come first.
        self._waiting: OrderedDict[str, dict[anyio.Event, None]] = OrderedDict()

    def __len__(self) -> int:
        """Askers of whom something is kept."""
        return len(self._taken.keys() | self._waiting.keys())

    async def acquire(self, asker: str) -> None:
        """Returns when `asker` has a place, which must be given back by `release`."""
        if self._may_have(asker):
            self._take(asker)
            return
        place = anyio.Event()
        self._waiting.setdefault(asker, {})[place] = None
        try:
            await place.wait()
        except BaseException:
            self._go_away(asker, place)
            raise

    def release(self, asker: str) -> None:
        self._free += 1
        self._taken[asker] -= 1
        if not self._taken[asker]:
            del self._taken[asker]
        self._hand_out()

    def _may_have(self, asker: str) -> bool:
        return self._free > 0 and self._taken[asker] < self._of_one

    def _take(self, asker: str) -> None:
        self._free -= 1
        self._taken[asker] += 1

    def _hand_out(self) -> None:
        """What is free goes to the first who may have it: others had their turn, or have their part of the places."""
        asker = next(filter(self._may_have, self._waiting), None)
        if asker is None:
            return
        place = next(iter(self._waiting[asker]))
        self._leave(asker, place)
        if asker in self._waiting:
            self._waiting.move_to_end(asker)
        self._take(asker)
        place.set()

    def _go_away(self, asker: str, place: anyio.Event) -> None:
        if place.is_set():  # it was handed out at the moment that its asker gave up
            self.release(asker)
        else:
            self._leave(asker, place)

    def _leave(self, asker: str, place: anyio.Event) -> None:
        del self._waiting[asker][place]
        if not self._waiting[asker]:
            del self._waiting[asker]
