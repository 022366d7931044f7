"""Tokens and where they are kept: by issuer, resource and client, so that no token is ever sent where it isn't for."""

import json
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio.to_thread

from garrison.base.errors import UsageError
from garrison.base.files import PRIVATE_FOLDER, write_private

RENEWAL_MARGIN = 30.0
"""Seconds before its end at which a token is renewed; a tenth of the lifetime for short-lived ones."""


@dataclass(frozen=True)
class TokenKey:
    issuer: str
    resource: str
    client_id: str


@dataclass(frozen=True)
class Token:
    """A token that was verified. Times are seconds since the epoch; None where the server gave none.

    Attributes:
        scopes: what it allows.
        expires_at: when it ends.
        renew_at: when to get the next one.
        subject: whom it speaks for; empty for an opaque token.
    """

    access_token: str = field(repr=False)
    scopes: frozenset[str]
    expires_at: float | None = None
    renew_at: float | None = None
    refresh_token: str | None = field(default=None, repr=False)
    subject: str = ""

    def is_fresh(self, now: float) -> bool:
        return self.renew_at is None or now < self.renew_at


def renewal_time(now: float, expires_at: float) -> float:
    return expires_at - min(RENEWAL_MARGIN, max(0.0, expires_at - now) / 10)


class TokenStorage(Protocol):
    async def load(self, key: TokenKey) -> Token | None: ...

    async def save(self, key: TokenKey, token: Token | None) -> None:
        """Keep `token`, or forget what was kept if None."""


class MemoryTokens:
    """Forgets with the process."""

    def __init__(self) -> None:
        self._tokens: dict[TokenKey, Token] = {}

    async def load(self, key: TokenKey) -> Token | None:
        return self._tokens.get(key)

    async def save(self, key: TokenKey, token: Token | None) -> None:
        if token is None:
            self._tokens.pop(key, None)
        else:
            self._tokens[key] = token


class FileTokens:
    """Keeps tokens in one JSON file, readable by its owner alone.

    Two processes that save at the same moment may lose one of the two tokens, never more: the file is replaced whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def load(self, key: TokenKey) -> Token | None:
        entry = (await anyio.to_thread.run_sync(self._read)).get(_name(key))
        return _token(entry) if entry else None

    async def save(self, key: TokenKey, token: Token | None) -> None:
        await anyio.to_thread.run_sync(self._update, _name(key), token)

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

    def _update(self, name: str, token: Token | None) -> None:
        entries = self._read()
        entries.pop(name, None)
        if token is not None:
            entries[name] = {**asdict(token), "scopes": sorted(token.scopes)}
        self._path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        write_private(self._path, json.dumps(entries, indent=1).encode())


def _name(key: TokenKey) -> str:
    return f"{key.issuer} {key.resource} {key.client_id}"


def _token(entry: Mapping[str, Any]) -> Token | None:
    """The token of a file's entry, or None if an older version wrote it differently."""
    try:
        return Token(**{**entry, "scopes": frozenset(entry["scopes"])})
    except (TypeError, KeyError):
        return None
