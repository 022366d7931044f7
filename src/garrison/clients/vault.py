"""Where secrets rest between two runs: texts under names, in memory, in one file of mode 0600, or in the OS keyring.

All processes of one user share a file or a keyring. `lock` keeps two of them from getting the same thing twice: whoever
waited for it looks into the vault first.

Only keyrings that are known to be encrypted and tied to the user's own session count (`SECURE_BACKENDS`). The package
`keyring` also finds backends that keep nothing, or keep plain text, and an environment variable can choose any of them.
"""

import contextlib
import fcntl
import importlib
import json
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread

from garrison.base.errors import GarrisonError, UsageError
from garrison.base.files import PRIVATE_FILE, PRIVATE_FOLDER, locked, write_private

SERVICE = "garrison"
"""The name under which the keyring shows our entries."""
SECURE_BACKENDS = frozenset(
    f"keyring.backends.{name}" for name in ("macOS", "SecretService", "libsecret", "kwallet", "Windows")
)
_POLL = 0.05  # seconds between two looks at a lock that another process holds
_T = TypeVar("_T")


class Vault(Protocol):
    async def get(self, name: str) -> str | None: ...

    async def put(self, name: str, value: str | None) -> None:
        """Keep `value`, or forget what was kept if None."""

    async def names(self) -> list[str]: ...

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """Held by one task of one process at a time; the others wait."""


class MemoryVault:
    """Forgets with the process."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._locks: dict[str, anyio.Lock] = {}

    async def get(self, name: str) -> str | None:
        return self._values.get(name)

    async def put(self, name: str, value: str | None) -> None:
        if value is None:
            self._values.pop(name, None)
        else:
            self._values[name] = value

    async def names(self) -> list[str]:
        return list(self._values)

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        return self._locks.setdefault(name, anyio.Lock())


class FileVault:
    """One JSON file, readable by its owner alone; it is replaced whole, by one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get(self, name: str) -> str | None:
        value = (await anyio.to_thread.run_sync(self._read)).get(name)
        return value if isinstance(value, str) else None

    async def put(self, name: str, value: str | None) -> None:
        await anyio.to_thread.run_sync(self._update, name, value)

    async def names(self) -> list[str]:
        return list(await anyio.to_thread.run_sync(self._read))

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        self._make_folder()
        descriptor = os.open(self._lock_file(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            # No thread waits: it could not be called back, and would keep the lock. Another process sends no event.
            while not _took(descriptor):  # noqa: ASYNC110
                await anyio.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)

    def _lock_file(self, name: str) -> Path:
        digest = sha256(name.encode()).hexdigest()[:16]
        return self._path.with_name(f".{self._path.name}.{digest}.lock")

    def _make_folder(self) -> None:
        self._path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)

    def _read(self) -> dict[str, Any]:
        """The file's entries. Raises `UsageError` if others could have read or written it."""
        try:
            mode = self._path.stat().st_mode
            if stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"{self._path} is open to others", f"chmod 600 {self._path}, or delete it.")
            entries = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UsageError(f"{self._path} is not a token file", "Delete it, and log in again.") from error
        return entries if isinstance(entries, dict) else {}

    def _update(self, name: str, value: str | None) -> None:
        self._make_folder()
        with locked(self._lock_file("")):
            entries = self._read()
            entries.pop(name, None)
            if value is not None:
                entries[name] = value
            write_private(self._path, json.dumps(entries, indent=1).encode())


def _took(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Keyring(Protocol):
    """What we use of a backend of the package `keyring`."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


class KeyringVault:
    """The OS keyring; beside it a file of the names alone, which a keyring can't list.

    Every method raises `GarrisonError` if the keyring is locked or gone.
    """

    def __init__(self, keyring: Keyring, names: Path) -> None:
        self._keyring = keyring
        self._names = FileVault(names)

    async def get(self, name: str) -> str | None:
        return await _asked(lambda: self._keyring.get_password(SERVICE, name))

    async def put(self, name: str, value: str | None) -> None:
        if value is not None:
            await _asked(lambda: self._keyring.set_password(SERVICE, name, value))
            await self._names.put(name, "")
            return
        if await self.get(name) is not None:
            await _asked(lambda: self._keyring.delete_password(SERVICE, name))
        await self._names.put(name, None)

    async def names(self) -> list[str]:
        return await self._names.names()

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        return self._names.lock(name)


async def _asked(act: Callable[[], _T]) -> _T:
    """`act`, in a thread: a keyring may ask its user to unlock it."""
    try:
        return await anyio.to_thread.run_sync(act)
    except Exception as error:  # each backend has errors of its own, and their texts may quote what was kept
        raise GarrisonError(
            f"the system's keyring refused ({type(error).__name__})", "Unlock it; or set GARRISON_KEYRING=off."
        ) from error


def secure_keyring(backends: Iterable[Any] | None = None) -> Keyring | None:
    """The system's keyring, if there is one that counts; None without the package `keyring`."""
    if backends is None:
        try:
            backend = importlib.import_module("keyring").get_keyring()
        except ModuleNotFoundError:
            return None
        backends = [backend, *getattr(backend, "backends", ())]  # keyring's chainer holds several
    found: Keyring | None = next((b for b in backends if type(b).__module__ in SECURE_BACKENDS), None)
    return found


def open_vault(folder: Path, *, use_keyring: bool = True) -> Vault:
    """The vault of this machine's user: the keyring where there is a secure one, or else `folder`/tokens.json."""
    keyring = None
    if use_keyring:
        with contextlib.suppress(Exception):  # a backend that breaks while it is looked for is none
            keyring = secure_keyring()
    if keyring is not None:
        return KeyringVault(keyring, folder / "names.json")
    return FileVault(folder / "tokens.json")
