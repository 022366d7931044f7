"""Verbs on authorization codes (RFC 6749 §4.1.2: short-lived and used once)."""

from typing import Any

import sqlalchemy as sa

from garrison.authserver.records import Code
from garrison.authserver.stores.families import FAMILY_COLUMNS, as_family, insert_family, lock_living_family
from garrison.authserver.stores.lookup import Lookup
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import codes, families, refresh_tokens


async def save_code(store: Store, code: Code) -> None:
    """The code and the family that begins with it."""
    values = {
        "key": code.key,
        "family_id": code.family.id,
        "redirect_uri": code.redirect_uri,
        "redirect_uri_given": code.redirect_uri_given,
        "code_challenge": code.code_challenge,
        "expires_at": code.expires_at,
    }

    def save(connection: sa.Connection) -> None:
        connection.execute(insert_family(code.family))
        connection.execute(codes.insert().values(values))

    await store.transact(save)


async def find_code(store: Store, key: str) -> Code | None:
    """The code, whatever became of it."""
    return await store.find(_BY_KEY, key=key)


async def consume_code(store: Store, code: Code, *, now: float, refresh: tuple[str, float] | None) -> bool:
    """Use `code` up, and begin its refresh tokens with (key, expires_at) if there are to be any.

    Of any number of callers, in any number of processes, one gets True.
    """

    def consume(connection: sa.Connection) -> bool:
        if connection.execute(lock_living_family(code.family.id)).first() is None:
            return False
        used = connection.execute(
            codes.update().where(codes.c.key == code.key, codes.c.used_at.is_(None)).values(used_at=now)
        )
        if used.rowcount != 1:
            return False
        if refresh:
            connection.execute(
                refresh_tokens.insert().values(key=refresh[0], family_id=code.family.id, expires_at=refresh[1])
            )
        return True

    return await store.transact(consume)


def _as_code(row: Any) -> Code:
    return Code(
        key=row.key,
        family=as_family(row),
        redirect_uri=row.redirect_uri,
        redirect_uri_given=row.redirect_uri_given,
        code_challenge=row.code_challenge,
        expires_at=row.expires_at,
        used=row.used_at is not None,
    )


_BY_KEY = Lookup(
    sa.select(
        codes.c.key,
        codes.c.redirect_uri,
        codes.c.redirect_uri_given,
        codes.c.code_challenge,
        codes.c.expires_at,
        codes.c.used_at,
        *FAMILY_COLUMNS,
    )
    .join_from(codes, families)
    .where(codes.c.key == sa.bindparam("key")),
    _as_code,
)
