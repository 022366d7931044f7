"""Verbs on refresh tokens (RFC 9700 §4.14.2: each is used once, and its reuse ends the family)."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from garrison.authserver.records import Family, RefreshToken
from garrison.authserver.stores.families import FAMILY_COLUMNS, as_family, lock_living_family
from garrison.authserver.stores.lookup import Lookup
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import families, refresh_tokens


@dataclass(frozen=True)
class Successor:
    """The token that takes over: its key, its end, and the salt that it was made with."""

    key: str
    salt: str
    expires_at: float


async def find_refresh_token(store: Store, key: str) -> RefreshToken | None:
    """The token, whatever became of it."""
    return await store.find(_BY_KEY, key=key)


async def find_refreshed_family(store: Store, family_id: str) -> Family | None:
    """The family, whatever became of it, if there is a row of any token of it."""
    query = sa.select(*FAMILY_COLUMNS).where(
        families.c.id == family_id, sa.exists().where(refresh_tokens.c.family_id == families.c.id)
    )
    async with store.read() as connection:
        row = (await connection.execute(query)).one_or_none()
    return as_family(row) if row else None


async def answer_was_lost(store: Store, key: str, since: float) -> bool:
    """Whether the token was used after `since` and its successor was not: whoever asks again may be told it again."""
    async with store.read() as connection:
        return await connection.scalar(_lost_answer(key, since)) is not None


async def rotate_refresh(
    store: Store, token: RefreshToken, successor: Successor, *, now: float, grace: float
) -> str | None:
    """Use `token` up and let `successor` take over; those of the family that were used before the grace go.

    Returns:
        The salt of the token's successor: `successor.salt`; or an older one, if the token was used no more than `grace`
        seconds ago and the successor it then got is still unused, for then that answer was lost.
        None if the token was used before otherwise, or its family has ended.
    """

    def rotate(connection: sa.Connection) -> str | None:
        if connection.execute(lock_living_family(token.family.id)).first() is None:
            return None
        mine = refresh_tokens.c.key == token.key
        used = connection.execute(
            refresh_tokens.update()
            .where(mine, refresh_tokens.c.used_at.is_(None))
            .values(used_at=now, successor_salt=successor.salt, successor_key=successor.key)
        )
        if used.rowcount != 1:
            salt: str | None = connection.scalar(_lost_answer(token.key, now - grace))
            return salt
        long_used = (refresh_tokens.c.family_id == token.family.id) & (refresh_tokens.c.used_at < now - grace)
        connection.execute(refresh_tokens.delete().where(long_used))
        connection.execute(
            refresh_tokens.insert().values(
                key=successor.key, family_id=token.family.id, expires_at=successor.expires_at
            )
        )
        return successor.salt

    return await store.transact(rotate)


def _lost_answer(key: str, since: float) -> sa.Select[Any]:
    heir = refresh_tokens.alias("heir")
    return (
        sa.select(refresh_tokens.c.successor_salt)
        .join(heir, heir.c.key == refresh_tokens.c.successor_key)
        .where(refresh_tokens.c.key == key, refresh_tokens.c.used_at > since, heir.c.used_at.is_(None))
    )


_BY_KEY = Lookup(
    sa.select(refresh_tokens.c.key, refresh_tokens.c.expires_at, refresh_tokens.c.used_at, *FAMILY_COLUMNS)
    .join_from(refresh_tokens, families)
    .where(refresh_tokens.c.key == sa.bindparam("key")),
    lambda row: RefreshToken(row.key, as_family(row), row.expires_at, row.used_at is not None),
)
