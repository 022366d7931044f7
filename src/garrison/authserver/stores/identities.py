"""Verbs on users who sign in at the identity provider: known by issuer and subject together, and by nothing else."""

import json

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from garrison.authserver import seal
from garrison.authserver.records import User
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import identities, users
from garrison.authserver.stores.users import as_user, end_all
from garrison.oauth import scope

_NO_PASSWORD = ""


async def find_external(store: Store, issuer: str, subject: str) -> User | None:
    """The user, disabled or not."""
    query = sa.select(users).join_from(identities, users).where(identities.c.key == _key(issuer, subject))
    async with store.read() as connection:
        row = (await connection.execute(query)).one_or_none()
    return as_user(row) if row else None


async def identity_of(store: Store, username: str) -> tuple[str, str] | None:
    """Issuer and subject of an external user."""
    query = sa.select(identities.c.issuer, identities.c.subject).where(identities.c.username == username)
    async with store.read() as connection:
        row = (await connection.execute(query)).one_or_none()
    return (row.issuer, row.subject) if row else None


async def save_external(store: Store, user: User, issuer: str, subject: str) -> bool:
    """Whether the user was saved: False means that the name or the subject is taken."""
    key = _key(issuer, subject)
    try:
        async with store.write() as connection:
            await connection.execute(
                users.insert().values(
                    username=user.username,
                    password_hash=_NO_PASSWORD,
                    scope=scope.render(user.scope),
                    disabled=user.disabled,
                    created_at=user.created_at,
                )
            )
            await connection.execute(
                identities.insert().values(key=key, issuer=issuer, subject=subject, username=user.username)
            )
    except IntegrityError:
        return False
    return True


async def lock_out(store: Store, username: str, now: float) -> None:
    """The provider's user may not sign in any more: whatever they had here ends, until they may again."""
    async with store.write() as connection:
        await connection.execute(users.update().where(users.c.username == username).values(scope=""))
        await end_all(connection, username, now)


def _key(issuer: str, subject: str) -> str:
    return seal.hashed(json.dumps([issuer, subject]))
