"""Verbs on codes by an app and on recovery codes: each is taken once, whoever asks at the same time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import recovery_codes, sessions, totp, users


@dataclass(frozen=True)
class SealedTotp:
    """A user's secret as it is kept; no code of `last_step` or an earlier one is taken any more."""

    username: str
    sealed: str = field(repr=False)
    last_step: int
    created_at: float


async def find_totp(store: Store, username: str) -> SealedTotp | None:
    async with store.read() as connection:
        row = (await connection.execute(totp.select().where(totp.c.username == username))).one_or_none()
    return SealedTotp(row.username, row.sealed, row.last_step, row.created_at) if row else None


async def save_totp(store: Store, made: SealedTotp, recovery: Sequence[str], session: str) -> bool:
    """Keep the secret and the recovery codes that come with it; the user's sessions but `session`, which were begun
    without a code, end. False means that there is a secret already.
    """
    try:
        async with store.write() as connection:
            # Whoever is just signing in by the password alone comes before this, and is signed out, or after it.
            await connection.execute(
                sa.select(users.c.username).where(users.c.username == made.username).with_for_update()
            )
            await connection.execute(
                totp.insert().values(
                    username=made.username, sealed=made.sealed, last_step=made.last_step, created_at=made.created_at
                )
            )
            await _replace_recovery_codes(connection, made.username, recovery)
            await connection.execute(
                sessions.delete().where(sessions.c.username == made.username, sessions.c.key != session)
            )
    except IntegrityError:
        return False
    return True


async def use_step(store: Store, username: str, step: int) -> bool:
    """Of any number of callers with one `step` or an earlier one, one gets True."""
    async with store.write() as connection:
        result = await connection.execute(
            totp.update().where(totp.c.username == username, totp.c.last_step < step).values(last_step=step)
        )
    return result.rowcount == 1


async def remove_totp(store: Store, username: str) -> bool:
    """The secret and the recovery codes are gone."""
    async with store.write() as connection:
        await connection.execute(recovery_codes.delete().where(recovery_codes.c.username == username))
        result = await connection.execute(totp.delete().where(totp.c.username == username))
    return result.rowcount == 1


async def use_recovery_code(store: Store, username: str, key: str) -> bool:
    """Of any number of callers with one code, one gets True."""
    ours = (recovery_codes.c.key == key) & (recovery_codes.c.username == username)
    async with store.write() as connection:
        result = await connection.execute(recovery_codes.delete().where(ours))
    return result.rowcount == 1


async def replace_recovery_codes(store: Store, username: str, keys: Sequence[str]) -> None:
    async with store.write() as connection:
        await _replace_recovery_codes(connection, username, keys)


async def _replace_recovery_codes(connection: AsyncConnection, username: str, keys: Sequence[str]) -> None:
    await connection.execute(recovery_codes.delete().where(recovery_codes.c.username == username))
    await connection.execute(recovery_codes.insert(), [{"key": key, "username": username} for key in keys])


async def count_recovery_codes(store: Store, username: str) -> int:
    query = sa.select(sa.func.count()).select_from(recovery_codes).where(recovery_codes.c.username == username)
    async with store.read() as connection:
        return (await connection.execute(query)).scalar_one()
