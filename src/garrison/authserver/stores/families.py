"""Verbs on families: what ends with a grant ends for all of its codes and refresh tokens at once."""

from typing import Any

import sqlalchemy as sa

from garrison.authserver.records import Family
from garrison.authserver.stores.statements import Statement
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import consents, families
from garrison.oauth import scope


async def revoke_family(store: Store, family_id: str, now: float) -> bool:
    """Whether it was still alive."""
    async with store.write() as connection:
        result = await connection.execute(_revoke(family_id, now))
    return result.rowcount == 1


async def revoke_for_good(store: Store, family: Family, now: float) -> None:
    """The family ends, and its user is asked before the client gets another one at the resource."""
    async with store.write() as connection:
        await connection.execute(
            consents.delete().where(
                consents.c.username == family.username,
                consents.c.client_id == family.client_id,
                consents.c.resource == family.resource,
            )
        )
        await connection.execute(_revoke(family.id, now))


def _revoke(family_id: str, now: float) -> sa.Update:
    return families.update().where(families.c.id == family_id, families.c.revoked_at.is_(None)).values(revoked_at=now)


async def living_families(
    store: Store, now: float, *, username: str | None = None, client_id: str | None = None
) -> list[Family]:
    """Those that are neither revoked nor expired, of a user or a client or of all, newest first."""
    query = (
        sa.select(*FAMILY_COLUMNS)
        .where(families.c.revoked_at.is_(None), families.c.expires_at > now)
        .order_by(families.c.created_at.desc(), families.c.id)
    )
    if username is not None:
        query = query.where(families.c.username == username)
    if client_id is not None:
        query = query.where(families.c.client_id == client_id)
    async with store.read() as connection:
        return [as_family(row) for row in await connection.execute(query)]


async def find_family(store: Store, family_id: str) -> Family | None:
    """The family, whatever became of it."""
    async with store.read() as connection:
        row = (await connection.execute(sa.select(*FAMILY_COLUMNS).where(families.c.id == family_id))).one_or_none()
    return as_family(row) if row else None


def family_values(family: Family) -> dict[str, Any]:
    """For `INSERT_FAMILY`."""
    return {
        "id": family.id,
        "client_id": family.client_id,
        "username": family.username,
        "session": family.session,
        "scope": scope.render(family.scope),
        "resource": family.resource,
        "created_at": family.created_at,
        "expires_at": family.expires_at,
    }


INSERT_FAMILY = Statement(
    families.insert(), "id", "client_id", "username", "session", "scope", "resource", "created_at", "expires_at"
)
LOCK_LIVING_FAMILY = Statement(
    sa.select(families.c.id)
    .where(families.c.id == sa.bindparam("family_id"), families.c.revoked_at.is_(None))
    .with_for_update()
)
"""Selects the family if it is not revoked; PostgreSQL keeps it so until the transaction's end."""


def as_family(row: Any) -> Family:
    return Family(
        id=row.id,
        client_id=row.client_id,
        username=row.username,
        session=row.session,
        scope=scope.parse(row.scope),
        resource=row.resource,
        created_at=row.created_at,
        expires_at=row.family_expires_at,
        revoked=row.revoked_at is not None,
    )


FAMILY_COLUMNS = (
    families.c.id,
    families.c.client_id,
    families.c.username,
    families.c.session,
    families.c.scope,
    families.c.resource,
    families.c.created_at,
    families.c.expires_at.label("family_expires_at"),
    families.c.revoked_at,
)
