"""Verbs on counted attempts, for back-off: charged before they are made, so that parallel guesses can't slip past."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import attempts

Pause = Callable[[int], float]
"""Seconds to wait after so many failures."""


async def charge_attempt(store: Store, pauses: Mapping[str, Pause], *, now: float, memory: float) -> float:
    """Count one failure for each key of `pauses`, unless one of them must still wait.

    Returns:
        Seconds to wait; 0 if the attempt may be made, and was counted.
    """
    if (wait := await _blocked(store, pauses, now)) > 0:
        return wait  # without a write: whoever must wait anyway leaves no row for each name that they make up
    async with store.write() as connection:
        for key in sorted(pauses):
            await _make_sure(connection, key, now + memory)
        rows = {row.key: row for row in await connection.execute(_locked(pauses))}
        wait = max(row.blocked_until - now for row in rows.values())
        if wait > 0:
            return float(wait)
        for key, pause in pauses.items():
            failures = 1 + (rows[key].failures if rows[key].forgotten_at > now else 0)
            await connection.execute(
                attempts.update()
                .where(attempts.c.key == key)
                .values(failures=failures, blocked_until=now + pause(failures), forgotten_at=now + memory)
            )
    return 0.0


async def _blocked(store: Store, keys: Mapping[str, Pause], now: float) -> float:
    latest = sa.select(sa.func.max(attempts.c.blocked_until)).where(attempts.c.key.in_(sorted(keys)))
    async with store.read() as connection:
        return float(await connection.scalar(latest) or 0.0) - now


async def forgive_attempt(store: Store, *, reduced: str, forgotten: str = "") -> None:
    """After a success: `forgotten` counts from nothing again, `reduced` loses the one charge that was no failure."""
    async with store.write() as connection:
        if forgotten:
            await connection.execute(attempts.delete().where(attempts.c.key == forgotten))
        await connection.execute(
            attempts.update()
            .where(attempts.c.key == reduced, attempts.c.failures > 0)
            .values(failures=attempts.c.failures - 1, blocked_until=0)
        )


def _locked(keys: Mapping[str, Pause]) -> sa.Select[Any]:
    return attempts.select().where(attempts.c.key.in_(sorted(keys))).order_by(attempts.c.key).with_for_update()


async def _make_sure(connection: AsyncConnection, key: str, forgotten_at: float) -> None:
    """A row for `key`, made by us or by another at the same time."""
    found = await connection.execute(sa.select(attempts.c.key).where(attempts.c.key == key))
    if found.first() is not None:
        return
    try:
        async with connection.begin_nested():
            await connection.execute(
                attempts.insert().values(key=key, failures=0, blocked_until=0, forgotten_at=forgotten_at)
            )
    except IntegrityError:
        pass  # another made it between our look and our insert
