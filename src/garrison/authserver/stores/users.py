"""Verbs on users and what they have consented to."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from garrison.authserver.records import User
from garrison.authserver.stores.lookup import Lookup
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import consents, families, sessions, users
from garrison.oauth import scope


async def save_user(store: Store, user: User, password_hash: str) -> bool:
    """Whether it was saved: False means that the name is taken."""
    try:
        async with store.write() as connection:
            await connection.execute(
                users.insert().values(
                    username=user.username,
                    password_hash=password_hash,
                    scope=scope.render(user.scope),
                    disabled=user.disabled,
                    created_at=user.created_at,
                )
            )
    except IntegrityError:
        return False
    return True


async def find_user(store: Store, username: str) -> tuple[User, str] | None:
    """The user, disabled or not, and the Argon2id hash of the password; empty for an external user."""
    return await store.find(_BY_NAME, username=username)


async def all_users(store: Store) -> list[User]:
    async with store.read() as connection:
        rows = await connection.execute(users.select().order_by(users.c.username))
    return [as_user(row) for row in rows]


async def set_user_scope(store: Store, username: str, granted: frozenset[str]) -> bool:
    """What the user may grant from now on, and what is left of what they granted before."""
    async with store.write() as connection:
        result = await connection.execute(
            users.update().where(users.c.username == username).values(scope=scope.render(granted))
        )
    return result.rowcount == 1


async def set_user_disabled(store: Store, username: str, *, disabled: bool, now: float) -> bool:
    return await _change(store, username, now, disabled=disabled)


async def set_password(store: Store, username: str, password_hash: str, *, now: float) -> bool:
    return await _change(store, username, now, password_hash=password_hash)


async def _change(store: Store, username: str, now: float, **values: Any) -> bool:
    async with store.write() as connection:
        result = await connection.execute(users.update().where(users.c.username == username).values(**values))
        await end_all(connection, username, now)
    return result.rowcount == 1


async def end_all(connection: AsyncConnection, username: str, now: float) -> None:
    """Whoever was signed in as the user no longer is, and whatever the user granted has ended, and is asked for again.

    Sessions go first: `save_code` holds on to one, and what it saves is there to be ended once that has gone.
    """
    await connection.execute(sessions.delete().where(sessions.c.username == username))
    await connection.execute(consents.delete().where(consents.c.username == username))
    await connection.execute(
        families.update().where(families.c.username == username, families.c.revoked_at.is_(None)).values(revoked_at=now)
    )


async def delete_user(store: Store, username: str) -> bool:
    """Gone with the user's sessions, consents, codes and refresh tokens (ON DELETE CASCADE)."""
    async with store.write() as connection:
        result = await connection.execute(users.delete().where(users.c.username == username))
    return result.rowcount == 1


async def remembered_consent(store: Store, *, username: str, client_id: str, resource: str) -> frozenset[str]:
    """The scope that the user has let the client have at the resource for good; empty if none."""
    return await store.find(_REMEMBERED, username=username, client_id=client_id, resource=resource) or frozenset()


def _consent(username: Any, client_id: Any, resource: Any) -> sa.ColumnElement[bool]:
    return sa.and_(consents.c.username == username, consents.c.client_id == client_id, consents.c.resource == resource)


def as_user(row: Any) -> User:
    return User(row.username, scope.parse(row.scope), row.disabled, row.created_at, external=not row.password_hash)


_BY_NAME = Lookup(
    users.select().where(users.c.username == sa.bindparam("username")), lambda row: (as_user(row), row.password_hash)
)
_REMEMBERED = Lookup(
    sa.select(consents.c.scope).where(_consent(*map(sa.bindparam, ("username", "client_id", "resource")))),
    lambda row: scope.parse(row.scope),
)
