"""Passwords: Argon2id (RFC 9106), off the event loop, as slow for strangers as for users."""

import secrets
import unicodedata
from base64 import b64encode

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from garrison.authserver.settings import PasswordCost

MAX_LENGTH = 1024
AT_ONCE = 2
"""Passwords hashed at the same time; each takes 64 MiB, and a flood of them must queue instead."""


async def hash_password(password: str, cost: PasswordCost) -> str:
    return await anyio.to_thread.run_sync(_hasher(cost).hash, _normal(password))


class Passwords:
    """Judges passwords; hashes of other costs than `cost` are still right, only told apart by their time."""

    def __init__(self, cost: PasswordCost) -> None:
        self._hasher = _hasher(cost)
        self._turns = anyio.CapacityLimiter(AT_ONCE)
        self._nobody = _of_no_password(self._hasher)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether `password` is the one of `password_hash`; for who has none here it takes as long and is False."""
        right = await anyio.to_thread.run_sync(
            self._matches, password_hash or self._nobody, _normal(password), limiter=self._turns
        )
        return right and bool(password_hash) and len(password) <= MAX_LENGTH

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def _hasher(cost: PasswordCost) -> PasswordHasher:
    return PasswordHasher(time_cost=cost.time, memory_cost=cost.memory_kib, parallelism=cost.parallelism)


def _of_no_password(hasher: PasswordHasher) -> str:
    """A hash that is as slow to compare with as any, and was made of nothing: making one takes longer than most of what
    a server does to start.
    """
    salt, digest = (_unpadded(secrets.token_bytes(size)) for size in (hasher.salt_len, hasher.hash_len))
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${digest}"


def _unpadded(data: bytes) -> str:
    return b64encode(data).rstrip(b"=").decode("ascii")


def _normal(password: str) -> str:
    """RFC 8265 §4.2: the same characters, however the keyboard composed them; not more than are worth hashing."""
    return unicodedata.normalize("NFC", password[:MAX_LENGTH])
