"""Verbs on all that users sign in with beside their passwords."""

from dataclasses import dataclass

import sqlalchemy as sa

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import passkeys, recovery_codes, totp, users
from garrison.authserver.stores.users import end_all


@dataclass(frozen=True)
class Factors:
    """What a user has: codes by an app, so many recovery codes that are not used yet, and so many passkeys."""

    totp: bool = False
    recovery_codes: int = 0
    passkeys: int = 0


async def factors_of(store: Store, username: str | None = None) -> dict[str, Factors]:
    """By username, of all users or of the one."""
    query = sa.select(
        users.c.username, *(_count(table).label(table.name) for table in (totp, recovery_codes, passkeys))
    )
    if username is not None:
        query = query.where(users.c.username == username)
    async with store.read() as connection:
        rows = await connection.execute(query)
    return {row.username: Factors(bool(row.totp), row.recovery_codes, row.passkeys) for row in rows}


def _count(table: sa.Table) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).where(table.c.username == users.c.username).correlate(users).scalar_subquery()


async def reset_factors(store: Store, username: str, now: float) -> None:
    """The password alone is left. Whoever was signed in no longer is, and whatever the user granted has ended."""
    async with store.write() as connection:
        for table in (totp, recovery_codes, passkeys):
            await connection.execute(table.delete().where(table.c.username == username))
        await end_all(connection, username, now)
