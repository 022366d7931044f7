"""The signing keys: in the database, sealed with the server's secret, so that all replicas have the same ones.

`KeyRing` is what a running server signs and publishes with; `rotate_keys` and `list_keys` are the operator's verbs.
"""

import json
import logging
from collections.abc import Sequence

import anyio.to_thread

from garrison.authserver import at_rest, key_schedule
from garrison.authserver.key_schedule import ScheduledKey
from garrison.authserver.stores.signing_keys import SealedKey, all_keys, change_keys, drop_keys
from garrison.authserver.stores.store import Store
from garrison.base.errors import GarrisonError
from garrison.oauth import jwks

logger = logging.getLogger(__name__)


class KeyRing:
    """The keys as this process last read them."""

    def __init__(self, store: Store, secret: bytes, first: Sequence[jwks.SigningKey] = ()) -> None:
        """`first`: what an empty database is begun with, the signing one first; if it is empty, a new key is made."""
        self._store = store
        self._secret = secret
        self._first = first
        self._keys: list[ScheduledKey] = []

    async def open(self, now: float) -> None:
        """Read the keys, and make the first one if there is none; of many replicas that begin at once, one does.

        Raises:
            StoreUnavailableError: the database does not answer.
            GarrisonError: the keys there were sealed with another secret.
        """
        await self.reload(now)
        if not self._keys:
            first = self._first or [await anyio.to_thread.run_sync(jwks.new_signing_key)]
            mine = [seal_key(self._secret, ScheduledKey(key, now - age)) for age, key in enumerate(first)]
            await change_keys(self._store, lambda found: found or mine)
            await self.reload(now)

    async def reload(self, now: float) -> None:
        """Read the keys again, and drop those whose last token has expired. Raises as `open` does."""
        known = {(each.key.kid, each.signs_from): each for each in self._keys}
        self._keys = [
            known.get((row.kid, row.signs_from)) or open_key(self._secret, row) for row in await all_keys(self._store)
        ]
        gone = {each.key.kid for each in self._keys} - {key.kid for key in self.published(now)}
        if gone:
            await drop_keys(self._store, gone)

    def signing(self, now: float) -> jwks.SigningKey:
        return key_schedule.signing(self._keys, now)

    def published(self, now: float) -> list[jwks.SigningKey]:
        return key_schedule.published(self._keys, now)


async def list_keys(store: Store, secret: bytes) -> list[ScheduledKey]:
    """The keys, newest first. Raises as `KeyRing.open` does."""
    found = [open_key(secret, row) for row in await all_keys(store)]
    return sorted(found, key=lambda each: (each.signs_from, each.key.kid), reverse=True)


async def rotate_keys(
    store: Store, secret: bytes, now: float, *, alg: str = "RS256", compromised: bool = False
) -> ScheduledKey:
    """Publish a new key now, to sign from `LEAD` seconds on; the old one goes when its last token has expired.

    Args:
        store: an open one.
        secret: the server's.
        now: seconds since the epoch.
        alg: RS256, ES256 or EdDSA.
        compromised: sign with the new key at once, and withdraw all others: every living token is refused.

    Raises:
        StoreUnavailableError: nothing was changed.
    """
    await list_keys(store, secret)  # another secret would add a key that no running server can open
    key = await anyio.to_thread.run_sync(jwks.new_signing_key, alg)
    made = ScheduledKey(key, now if compromised else now + key_schedule.LEAD)
    row = seal_key(secret, made)
    await change_keys(store, lambda found: [row] if compromised else [*found, row])
    return made


def seal_key(secret: bytes, key: ScheduledKey) -> SealedKey:
    kid = key.key.kid
    sealed = at_rest.encrypted(secret, at_rest.SIGNING_KEYS, kid, jwks.dump_private([key.key]).encode())
    return SealedKey(kid, sealed, key.signs_from)


def open_key(secret: bytes, row: SealedKey) -> ScheduledKey:
    """Raises `GarrisonError` if the key was not sealed with `secret`."""
    try:
        (key,) = jwks.load_private(at_rest.decrypted(secret, at_rest.SIGNING_KEYS, row.kid, row.sealed).decode())
    except (ValueError, json.JSONDecodeError):
        raise GarrisonError(
            f"the signing key {row.kid} in the database was sealed with another secret",
            "Every replica needs the same secret.key; restore it, or begin with an empty database.",
        ) from None
    return ScheduledKey(key, row.signs_from)
