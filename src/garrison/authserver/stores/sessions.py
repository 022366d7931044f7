"""Verbs on the sessions of signed-in browsers."""

from dataclasses import dataclass

import sqlalchemy as sa

from garrison.authserver.records import Session
from garrison.authserver.stores.lookup import Lookup
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import families, passkeys, sessions, totp, users
from garrison.authserver.stores.users import as_user
from garrison.oauth import scope


@dataclass(frozen=True)
class Shown:
    """What a user has shown to sign in: the password of that hash, alone or with a code; a passkey; or, at the identity
    provider, claims that give that scope.
    """

    password_hash: str | None = None
    alone: bool = False
    credential_id: str | None = None
    scope: frozenset[str] | None = None


async def save_session(store: Store, key: str, *, username: str, shown: Shown, now: float, expires_at: float) -> bool:
    """False, and no session, if what was `shown` does not do any more: it takes time to judge, and meanwhile the user
    may have been disabled, or got another password, or lost a device.
    """
    async with store.write() as connection:
        if (await connection.execute(_lock_user(username, shown))).first() is None:
            return False
        if shown.alone and (await connection.execute(totp.select().where(totp.c.username == username))).first():
            return False
        if (
            shown.credential_id
            and (await connection.execute(_lock_passkey(username, shown.credential_id))).first() is None
        ):
            return False
        await connection.execute(
            sessions.insert().values(key=key, username=username, created_at=now, expires_at=expires_at)
        )
    return True


def _lock_user(username: str, shown: Shown) -> sa.Select[tuple[str]]:
    query = sa.select(users.c.username).where(users.c.username == username, users.c.disabled.is_(False))
    if shown.password_hash is not None:
        query = query.where(users.c.password_hash == shown.password_hash)
    if shown.scope is not None:
        query = query.where(users.c.scope == scope.render(shown.scope))
    return query.with_for_update(read=True)


def _lock_passkey(username: str, credential_id: str) -> sa.Select[tuple[str]]:
    ours = (passkeys.c.credential_id == credential_id) & (passkeys.c.username == username)
    return sa.select(passkeys.c.credential_id).where(ours).with_for_update(read=True)


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
        keys = (await connection.scalars(sessions.delete().where(others).returning(sessions.c.key))).all()
        ended = families.c.session.in_(keys)
        await connection.execute(families.update().where(ended, families.c.revoked_at.is_(None)).values(revoked_at=now))


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
