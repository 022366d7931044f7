"""A process's own file of events, appended to by one system call: what is in it survives the process, however it ends.

SQLite's cheapest commit takes eight. What a journal holds goes into the database within a moment (collect.py): by its
owner, by whoever reads, or, if its owner was killed, by the next store that opens. A journal only ever grows; one that
is long, or took half of an event because the disk was full, is left for a new one.
"""

import fcntl
import math
import os
import time
from pathlib import Path

import msgspec

from garrison.base.errors import EventStoreError
from garrison.base.events import Event
from garrison.base.files import PRIVATE_FILE
from garrison.monitor.database import failed, gone

MAX_LINE = 1 << 18
"""Bytes of one event."""
_INFIX = ".pending-"
_encode = msgspec.json.Encoder().encode


class Journal:
    """Belongs to the store at `store`, and to this process for as long as it holds the file's lock.

    Attributes:
        size: bytes of whole events.
        moved: bytes that the database has by now; for the owner's bookkeeping.
        broken: it ends with a part of an event, so nothing more may follow.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, store: Path) -> None:
        self.path, self._descriptor = _make(store)
        self.size = self.moved = 0
        self.broken = False

    def append(self, lines: bytes) -> None:
        """Raises `EventStoreError`: they are not durable, or the file has no name any more."""
        try:
            written = os.write(self._descriptor, lines)
            named = os.fstat(self._descriptor).st_nlink
        except OSError as error:  # then nothing of them was written
            raise failed(error) from error
        if written != len(lines):
            self.broken = True
            raise EventStoreError("Events can't be stored: the disk took a part of one.", "Look for room on the disk.")
        if not named:
            self.broken = True
            raise gone(self.path)
        self.size += written

    @property
    def waiting(self) -> int:
        """Bytes that the database doesn't have."""
        return max(0, self.size - self.moved)

    def close(self) -> None:
        os.close(self._descriptor)


def to_line(event: Event) -> bytes:
    """`event`, whose time is set, as a line that can be read again.

    Raises:
        EventStoreError: a time or detail that is not finite, text that is not Unicode, or more than `MAX_LINE` of it.
    """
    try:
        line = _encode(event)
        # The encoder writes null for a number that is not finite.
        numbers = [event.time, *(value for value in event.detail.values() if isinstance(value, float))]
        storable = all(map(math.isfinite, numbers)) and len(line) < MAX_LINE
    except (ValueError, TypeError, OverflowError) as error:
        raise _unstorable() from error
    if not storable:
        raise _unstorable()
    return line + b"\n"


def _unstorable() -> EventStoreError:
    return EventStoreError("An event can't be stored: it is too long, or holds what is no text or no finite number.")


def journals(store: Path) -> list[Path]:
    """The journals that belong to `store` now, in the order in which they were begun."""
    return sorted(store.parent.glob(f"{store.name}{_INFIX}*"))


def hold(descriptor: int) -> bool:
    """Take a journal's lock; False while its owner lives, or somebody else clears it away."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make(store: Path) -> tuple[Path, int]:
    while True:
        path = store.with_name(f"{store.name}{_INFIX}{time.time_ns():016x}-{os.urandom(4).hex()}")
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        # Whoever looked at it before it was held took it for a dead process's, and away.
        if hold(descriptor) and os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)
