"""Verbs on authorization codes (RFC 6749 §4.1.2: short-lived and used once)."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from garrison.authserver.records import Code, Family
from garrison.authserver.stores.families import FAMILY_COLUMNS, as_family, insert_family, lock_living_family
from garrison.authserver.stores.lookup import Lookup
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import clients, codes, consents, families, refresh_tokens, sessions, users
from garrison.oauth import scope


async def save_code(store: Store, code: Code, *, remembered: bool = False, remember: bool = False) -> bool:
    """The code and the family that begins with it, and with `remember` the user's consent for good.

    False, and nothing is kept, if what the user said yes by is no more: the session, the client, or with `remembered`
    the consent that stood for a yes.
    """
    values = {
        "key": code.key,
        "family_id": code.family.id,
        "redirect_uri": code.redirect_uri,
        "redirect_uri_given": code.redirect_uri_given,
        "code_challenge": code.code_challenge,
        "expires_at": code.expires_at,
    }

    def save(connection: sa.Connection) -> bool:
        for still_there in _lock_what_it_stands_on(code.family, remembered=remembered, remember=remember):
            if connection.execute(still_there).first() is None:
                return False
        for statement in _remember(code.family) if remember else ():
            connection.execute(statement)
        connection.execute(insert_family(code.family))
        connection.execute(codes.insert().values(values))
        return True

    return await store.transact(save)


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


def _lock_what_it_stands_on(family: Family, *, remembered: bool, remember: bool) -> Iterator[sa.Select[tuple[str]]]:
    """Each selects a row, if it is as it must be; PostgreSQL keeps it so until the transaction's end.

    In the order in which users and clients go and end, lest the two wait for each other. Of those who remember a
    consent of one user, one is at it at a time.
    """
    me, client = users.c.username == family.username, clients.c.client_id == family.client_id
    yield sa.select(users.c.username).where(me).with_for_update(read=not remember, key_share=True)
    yield sa.select(clients.c.client_id).where(client, clients.c.disabled.is_(False)).with_for_update(read=True)
    yield sa.select(sessions.c.key).where(sessions.c.key == family.session).with_for_update(read=True)
    if remembered:
        yield sa.select(consents.c.scope).where(_consent_of(family)).with_for_update(read=True)


def _remember(family: Family) -> Iterator[sa.Delete | sa.Insert]:
    yield consents.delete().where(_consent_of(family))
    yield consents.insert().values(
        username=family.username,
        client_id=family.client_id,
        resource=family.resource,
        scope=scope.render(family.scope),
        created_at=family.created_at,
    )


def _consent_of(family: Family) -> sa.ColumnElement[bool]:
    return sa.and_(
        consents.c.username == family.username,
        consents.c.client_id == family.client_id,
        consents.c.resource == family.resource,
    )
