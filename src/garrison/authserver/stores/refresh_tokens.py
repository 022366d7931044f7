"""Verbs on refresh tokens (RFC 9700 §4.14.2: each is used once, and its reuse ends the family)."""

from dataclasses import dataclass

import sqlalchemy as sa

from garrison.authserver.records import Family, RefreshToken
from garrison.authserver.stores.families import FAMILY_COLUMNS, LOCK_LIVING_FAMILY, as_family
from garrison.authserver.stores.lookup import Lookup
from garrison.authserver.stores.statements import Statement, Transaction
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
        return await connection.scalar(_LOST_ANSWER.query, {"of_key": key, "since": since}) is not None


async def rotate_refresh(
    store: Store, token: RefreshToken, successor: Successor, *, now: float, grace: float
) -> str | None:
    """Use `token` up and let `successor` take over; those of the family that were used before the grace go.

    Returns:
        The salt of the token's successor: `successor.salt`; or an older one, if the token was used no more than `grace`
        seconds ago and the successor it then got is still unused, for then that answer was lost.
        None if the token was used before otherwise, or its family has ended.
    """

    def rotate(transaction: Transaction) -> str | None:
        if transaction.execute(LOCK_LIVING_FAMILY, family_id=token.family.id).fetchone() is None:
            return None
        used = transaction.execute(_USE, of_key=token.key, now=now, new_salt=successor.salt, new_key=successor.key)
        if used.rowcount != 1:
            row = transaction.execute(_LOST_ANSWER, of_key=token.key, since=now - grace).fetchone()
            return row[0] if row else None
        transaction.execute(_FORGET_LONG_USED, family_id=token.family.id, before=now - grace)
        transaction.execute(
            INSERT_REFRESH_TOKEN, key=successor.key, family_id=token.family.id, expires_at=successor.expires_at
        )
        return successor.salt

    return await store.transact(rotate)


_HEIR = refresh_tokens.alias("heir")
_LOST_ANSWER = Statement(
    sa.select(refresh_tokens.c.successor_salt)
    .join(_HEIR, _HEIR.c.key == refresh_tokens.c.successor_key)
    .where(
        refresh_tokens.c.key == sa.bindparam("of_key"),
        refresh_tokens.c.used_at > sa.bindparam("since"),
        _HEIR.c.used_at.is_(None),
    )
)
_USE = Statement(
    refresh_tokens.update()
    .where(refresh_tokens.c.key == sa.bindparam("of_key"), refresh_tokens.c.used_at.is_(None))
    .values(used_at=sa.bindparam("now"), successor_salt=sa.bindparam("new_salt"), successor_key=sa.bindparam("new_key"))
)
_FORGET_LONG_USED = Statement(
    refresh_tokens.delete().where(
        refresh_tokens.c.family_id == sa.bindparam("family_id"), refresh_tokens.c.used_at < sa.bindparam("before")
    )
)
INSERT_REFRESH_TOKEN = Statement(refresh_tokens.insert(), "key", "family_id", "expires_at")
_BY_KEY = Lookup(
    sa.select(refresh_tokens.c.key, refresh_tokens.c.expires_at, refresh_tokens.c.used_at, *FAMILY_COLUMNS)
    .join_from(refresh_tokens, families)
    .where(refresh_tokens.c.key == sa.bindparam("key")),
    lambda row: RefreshToken(row.key, as_family(row), row.expires_at, row.used_at is not None),
)
