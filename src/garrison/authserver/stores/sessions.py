"""Verbs on the sessions of signed-in browsers."""

import sqlalchemy as sa

from garrison.authserver.records import Session
from garrison.authserver.stores.lookup import Lookup
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
    return await store.find(_LIVING, key=key, now=now)


async def end_session(store: Store, key: str, now: float) -> None:
    """End the session and every grant that was given in it."""
    async with store.write() as connection:
        await connection.execute(sessions.delete().where(sessions.c.key == key))
        await connection.execute(
            families.update().where(families.c.session == key, families.c.revoked_at.is_(None)).values(revoked_at=now)
        )


async def count_sessions(store: Store, username: str, now: float) -> int:
    mine = (sessions.c.username == username) & (sessions.c.expires_at > now)
    async with store.read() as connection:
        return (await connection.execute(sa.select(sa.func.count()).select_from(sessions).where(mine))).scalar_one()


async def end_other_sessions(store: Store, username: str, key: str, now: float) -> None:
    """End the user's sessions but `key`, and every grant that was given in them."""
    others = (sessions.c.username == username) & (sessions.c.key != key)
    async with store.write() as connection:
        ended = families.c.session.in_(sa.select(sessions.c.key).where(others))
        await connection.execute(families.update().where(ended, families.c.revoked_at.is_(None)).values(revoked_at=now))
        await connection.execute(sessions.delete().where(others))


_LIVING = Lookup(
    sa.select(sessions.c.key, sessions.c.created_at.label("since"), users)
    .join_from(sessions, users)
    .where(
        sessions.c.key == sa.bindparam("key"),
        sessions.c.expires_at > sa.bindparam("now"),
        users.c.disabled.is_(False),
    ),
    lambda row: Session(row.key, as_user(row), row.since),
)
