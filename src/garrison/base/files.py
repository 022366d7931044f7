"""Files that hold secrets: written whole or not at all, readable by their owner alone."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from garrison.base.errors import GarrisonError, UsageError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_OTHERS = 0o077


def make_private_folder(folder: Path) -> None:
    """Make `folder` (and its parents), closed to everybody but its owner.

    Raises:
        UsageError: it exists, is open to others, and is not empty: whoever uses it would be locked out.
        GarrisonError: it can't be made.
    """
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if folder.stat().st_mode & _OTHERS and any(folder.iterdir()):
            raise UsageError(
                f"{folder} is open to others and not empty",
                f"Choose another folder, or close it first: chmod 700 {folder}",
            )
        folder.chmod(PRIVATE_FOLDER)
    except OSError as error:
        raise GarrisonError(f"{folder} can't be made a private folder ({error.strerror})") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; whoever else wants it waits."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step, mode 0600, durable before it returns.

    A reader sees the old file or the new one, never a part; a crash leaves at worst a stray `.tmp`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """A new name is durable only with its folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
