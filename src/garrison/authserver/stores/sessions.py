"""Verbs on the sessions of signed-in browsers."""

import sqlalchemy as sa

from garrison.authserver.records import Session
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import families, sessions, users
from garrison.authserver.stores.users import as_user


async def save_session(store: Store, key: str, *, username: str, now: float, expires_at: float) -> None:
    async with store.write() as connection:
        await connection.execute(
            sessions.insert().values(key=key, username=username, created_at=now, expires_at=expires_at)
        )


async def find_session(store: Store, key: str, now: float) -> Session | None:
    """The session, if it has not expired and its user is not disabled."""
    query = (
        sa.select(sessions.c.created_at.label("since"), users)
        .join_from(sessions, users)
        .where(sessions.c.key == key, sessions.c.expires_at > now, users.c.disabled.is_(False))
    )
    async with store.read() as connection:
        row = (await connection.execute(query)).one_or_none()
    return Session(key, as_user(row), row.since) if row else None


async def end_session(store: Store, key: str, now: float) -> None:
    """End the session and every grant that was given in it."""
    async with store.write() as connection:
        await connection.execute(sessions.delete().where(sessions.c.key == key))
        await connection.execute(
            families.update().where(families.c.session == key, families.c.revoked_at.is_(None)).values(revoked_at=now)
        )
