"""A process's own file of events, appended to by one system call: what is in it survives the process, however it ends.

SQLite's cheapest commit takes eight. What a journal holds goes into the database within a moment (collect.py): by its
owner, by whoever reads, or, if its owner was killed, by the next store that opens. What is whole in a journal stays as
it is; a long journal is left for a new one.
"""

import fcntl
import os
import re
import time
from pathlib import Path

import msgspec

from garrison.base.events import Event
from garrison.base.files import PRIVATE_FILE
from garrison.monitor.database import failed, gone, identify
from garrison.monitor.rows import check, unstorable

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
        self.path, self.descriptor = _make(store)
        self._name = os.fsencode(self.path)
        status = os.fstat(self.descriptor)
        self._identity = status.st_dev, status.st_ino
        self.size = self.moved = 0
        self.broken = False

    def append(self, lines: bytes) -> int:
        """How many bytes of them, in whole lines, are durable now. Raises `EventStoreError`: none are."""
        if not os.access(self._name, os.F_OK):  # deleted or moved away; fstat would say so too, at twice the price
            self.broken = True
            raise gone(self.path)
        try:
            written = os.write(self.descriptor, lines)
        except OSError as error:  # then nothing of them was written
            raise failed(error) from error
        if written != len(lines):
            written = lines.rfind(b"\n", 0, written) + 1
            self._cut(self.size + written)
        self.size += written
        return written

    def was_replaced(self) -> bool:
        """Whether its name is another file's; too slow to ask before each `append`, which sees that it is nobody's."""
        return identify(self.path) not in (None, self._identity)

    def _cut(self, size: int) -> None:
        """Take back a part of an event; nobody has moved it, as it has no end."""
        try:
            os.ftruncate(self.descriptor, size)
        except OSError:
            self.broken = True

    @property
    def waiting(self) -> int:
        """Bytes that the database doesn't have."""
        return max(0, self.size - self.moved)

    def close(self) -> None:
        os.close(self.descriptor)


def to_line(event: Event) -> bytes:
    """`event`, whose time is set, as a line that can be read again.

    Raises:
        EventStoreError: a time or detail that is not finite, text that is not Unicode, or more than `MAX_LINE` of it.
    """
    try:
        check(event)
        line = _encode(event)
    except (ValueError, TypeError, OverflowError) as error:
        raise unstorable() from error
    if len(line) >= MAX_LINE:
        raise unstorable()
    return line + b"\n"


def journals(store: Path) -> list[Path]:
    """The journals of `store` now, in the order in which they were begun; a copy of one has another name."""
    name = re.compile(re.escape(store.name + _INFIX) + "[0-9a-f]{16}-[0-9a-f]{8}")
    return sorted(path for path in store.parent.iterdir() if name.fullmatch(path.name))


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
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        # Whoever looked at it before it was held took it for a dead process's, and away.
        if hold(descriptor) and os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)
