"""Tokens and where they are kept: by issuer, resource and client, so that no token is ever sent where it isn't for.

A client's registration is kept by issuer, and a login by the MCP server's URL, in the same vault.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from garrison.clients.vault import FileVault, MemoryVault, Vault

_T = TypeVar("_T")
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


@dataclass(frozen=True)
class Registration:
    """A client as its issuer registered it (RFC 7591 §3.2.1).

    Attributes:
        client_id: by which the issuer knows it.
        redirect_uri: the one that was registered, port and all.
        client_secret: if the issuer gave one.
        auth_method: `token_endpoint_auth_method`; empty if the issuer said nothing.
        expires_at: when the secret ends, in seconds since the epoch; 0 for never.
    """

    client_id: str
    redirect_uri: str
    client_secret: str | None = field(default=None, repr=False)
    auth_method: str = ""
    expires_at: float = 0


@dataclass(frozen=True)
class StoredLogin:
    """A login that later commands use: whose token, from where, and how the client came to its id.

    Attributes:
        url: the MCP server, as the user wrote it.
        key: where its token is kept.
        client_id: the client that the user named; None if it registered itself, or is described by a document.
        client_secret: that client's, if it has one.
        client_metadata_url: the client's metadata document.
        omit_resource, issuer_shape, token_audience, private_addresses: as for `connect`.
    """

    url: str
    key: TokenKey
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    client_metadata_url: str | None = None
    omit_resource: bool = False
    issuer_shape: str | None = None
    token_audience: str | None = None
    private_addresses: bool = False


class TokenStorage:
    """Tokens, registrations and logins in one vault. An entry that an older version wrote differently is none."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def load(self, key: TokenKey) -> Token | None:
        entry = await self._entry(_name("token", *_parts(key)))
        return _built(lambda: Token(**{**entry, "scopes": frozenset(entry["scopes"])})) if entry else None

    async def save(self, key: TokenKey, token: Token | None) -> None:
        """Keep `token`, or forget what was kept if None."""
        entry = {**asdict(token), "scopes": sorted(token.scopes)} if token else None
        await self._put(_name("token", *_parts(key)), entry)

    def lock(self, key: TokenKey) -> AbstractAsyncContextManager[None]:
        """Held by whoever gets the token of `key`, in whatever process."""
        return self._vault.lock(_name("token", *_parts(key)))

    async def keys(self) -> list[TokenKey]:
        return [TokenKey(*parts) for kind, *parts in map(_split, await self._vault.names()) if kind == "token"]

    async def registration(self, issuer: str) -> Registration | None:
        entry = await self._entry(_name("registration", issuer))
        return _built(lambda: Registration(**entry)) if entry else None

    async def save_registration(self, issuer: str, registration: Registration | None) -> None:
        await self._put(_name("registration", issuer), asdict(registration) if registration else None)

    def registration_lock(self, issuer: str) -> AbstractAsyncContextManager[None]:
        return self._vault.lock(_name("registration", issuer))

    async def login(self, url: str) -> StoredLogin | None:
        entry = await self._entry(_name("login", _plain(url)))
        return _built(lambda: StoredLogin(**{**entry, "key": TokenKey(**entry["key"])})) if entry else None

    async def save_login(self, login: StoredLogin) -> None:
        await self._put(_name("login", _plain(login.url)), asdict(login))

    async def forget_login(self, url: str) -> None:
        await self._put(_name("login", _plain(url)), None)

    async def logins(self) -> list[StoredLogin]:
        urls = [parts[0] for kind, *parts in map(_split, await self._vault.names()) if kind == "login"]
        return [login for url in sorted(urls) if (login := await self.login(url))]

    async def forget_all(self) -> None:
        for name in await self._vault.names():
            await self._vault.put(name, None)

    async def _entry(self, name: str) -> Mapping[str, Any]:
        text = await self._vault.get(name)
        try:
            entry = json.loads(text) if text else {}
        except ValueError:
            return {}
        return entry if isinstance(entry, dict) else {}

    async def _put(self, name: str, entry: Mapping[str, Any] | None) -> None:
        await self._vault.put(name, None if entry is None else json.dumps(entry))


class MemoryTokens(TokenStorage):
    """Forgets with the process."""

    def __init__(self) -> None:
        super().__init__(MemoryVault())


class FileTokens(TokenStorage):
    """Keeps everything in one JSON file, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileVault(path))


def _parts(key: TokenKey) -> Iterable[str]:
    return key.issuer, key.resource, key.client_id


def _plain(url: str) -> str:
    """RFC 8707's one resource, with a slash at the end or without."""
    return url.removesuffix("/")


def _name(kind: str, *parts: str) -> str:
    return json.dumps([kind, *parts])


def _split(name: str) -> list[str]:
    try:
        parts = json.loads(name)
    except ValueError:
        return [""]
    return [str(part) for part in parts] if isinstance(parts, list) and parts else [""]


def _built(build: Callable[[], _T]) -> _T | None:
    try:
        return build()
    except (TypeError, KeyError):
        return None
