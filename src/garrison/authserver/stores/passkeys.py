"""Verbs on passkeys (WebAuthn credentials): public keys, each with the counter that its next use must be beyond."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import passkeys


@dataclass(frozen=True)
class Passkey:
    """A credential of a user; `credential_id` in base64url, `public_key` as the authenticator encoded it (COSE)."""

    credential_id: str
    username: str
    name: str
    public_key: bytes
    sign_count: int
    created_at: float
    last_used_at: float | None = None


async def save_passkey(store: Store, passkey: Passkey) -> bool:
    """False means that the credential is somebody's already (WebAuthn §7.1, step 26)."""
    try:
        async with store.write() as connection:
            await connection.execute(passkeys.insert().values(**vars(passkey)))
    except IntegrityError:
        return False
    return True


async def find_passkey(store: Store, credential_id: str) -> Passkey | None:
    query = passkeys.select().where(passkeys.c.credential_id == credential_id)
    async with store.read() as connection:
        row = (await connection.execute(query)).one_or_none()
    return _passkey(row) if row else None


async def passkeys_of(store: Store, username: str) -> list[Passkey]:
    """The user's passkeys, oldest first."""
    query = passkeys.select().where(passkeys.c.username == username).order_by(passkeys.c.created_at)
    async with store.read() as connection:
        return [_passkey(row) for row in await connection.execute(query)]


async def use_passkey(store: Store, passkey: Passkey, sign_count: int, now: float) -> bool:
    """False means that the passkey is gone, or its counter moved since `passkey` was read: two have used it at once."""
    same = (passkeys.c.credential_id == passkey.credential_id) & (passkeys.c.sign_count == passkey.sign_count)
    async with store.write() as connection:
        result = await connection.execute(passkeys.update().where(same).values(sign_count=sign_count, last_used_at=now))
    return result.rowcount == 1


async def remove_passkey(store: Store, username: str, credential_id: str) -> bool:
    """Whether the user had it."""
    ours = (passkeys.c.credential_id == credential_id) & (passkeys.c.username == username)
    async with store.write() as connection:
        result = await connection.execute(passkeys.delete().where(ours))
    return result.rowcount == 1


def _passkey(row: Any) -> Passkey:
    return Passkey(**row._mapping)  # noqa: SLF001 - its public name
