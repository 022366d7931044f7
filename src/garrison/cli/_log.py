"""The log of a program that somebody else started: to standard error, and to a file that stays small and private."""

import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from garrison.base.errors import UsageError
from garrison.base.events import one_line
from garrison.base.files import PRIVATE_FILE, locked

OURS = "garrison"
MAX_BYTES, KEPT = 1_000_000, 2
"""Of one file, and how many older ones are kept beside it."""


def start_log(file: Path | None, level: str | None) -> None:
    """Log to standard error and to `file`.

    Args:
        file: in a folder that exists; None for none.
        level: of our own messages, INFO by default. The libraries' are shown from WARNING on, whatever it says: below
            that they repeat what they send and receive.

    Raises:
        UsageError: there is no such level.
    """
    level = (level or "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise UsageError(f"LOG_LEVEL is {level!r}", "It can be DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file:
        handlers.append(PrivateFile(file))
    for handler in handlers:
        handler.setFormatter(_OneLine("%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger(OURS).setLevel(level)


class PrivateFile(RotatingFileHandler):
    """Mode 0600, of bounded size; several processes may write it."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")

    def _open(self) -> Any:
        return open(self.baseFilename, "a", encoding="utf-8", opener=_private)

    def doRollover(self) -> None:  # noqa: N802 - the base class's name
        with locked(Path(f"{self.baseFilename}.lock")):
            if self.stream and os.fstat(self.stream.fileno()).st_ino == _inode(self.baseFilename):
                super().doRollover()
                return
        if self.stream:  # another process has put a new file in its place
            self.stream.close()
        self.stream = self._open()


class _OneLine(logging.Formatter):
    """One line a message, without what moves a cursor; of an exception its name, for its text may repeat data."""

    def format(self, record: logging.LogRecord) -> str:
        kind = record.exc_info[0] if record.exc_info else None
        said = f"{record.getMessage()} ({kind.__name__})" if kind else record.getMessage()
        shown = logging.makeLogRecord({**record.__dict__, "msg": one_line(said), "args": None, "exc_info": None})
        shown.exc_text = shown.stack_info = None
        return super().format(shown)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)


def _inode(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except FileNotFoundError:
        return -1
