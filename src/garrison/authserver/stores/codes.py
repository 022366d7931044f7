"""Verbs on authorization codes (RFC 6749 §4.1.2: short-lived and used once)."""

from typing import Any

import sqlalchemy as sa

from garrison.authserver.records import Code, Family
from garrison.authserver.stores.families import (
    FAMILY_COLUMNS,
    INSERT_FAMILY,
    LOCK_LIVING_FAMILY,
    as_family,
    family_values,
)
from garrison.authserver.stores.lookup import Lookup
from garrison.authserver.stores.refresh_tokens import INSERT_REFRESH_TOKEN
from garrison.authserver.stores.statements import Statement, Transaction
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import clients, codes, consents, families, sessions, users
from garrison.oauth import scope


async def save_code(store: Store, code: Code, *, remembered: bool = False, remember: bool = False) -> bool:
    """The code and the family that begins with it, and with `remember` the user's consent for good.

    False, and nothing is kept, if what the user said yes by is no more: the session, the client, or with `remembered`
    the consent that stood for a yes.
    """
    family = code.family
    values = {
        "key": code.key,
        "family_id": family.id,
        "redirect_uri": code.redirect_uri,
        "redirect_uri_given": code.redirect_uri_given,
        "code_challenge": code.code_challenge,
        "expires_at": code.expires_at,
    }
    consent = {"of_user": family.username, "of_client": family.client_id, "at": family.resource}

    def save(transaction: Transaction) -> bool:
        # In the order in which users and clients go and end, lest the two wait for each other. Of those who remember a
        # consent of one user, one is at it at a time.
        user = _LOCK_USER_ALONE if remember else _LOCK_USER
        if transaction.execute(user, of_user=family.username).fetchone() is None:
            return False
        if transaction.execute(_LOCK_CLIENT, of_client=family.client_id).fetchone() is None:
            return False
        if transaction.execute(_LOCK_SESSION, of_key=family.session).fetchone() is None:
            return False
        if remembered and transaction.execute(_LOCK_CONSENT, **consent).fetchone() is None:
            return False
        if remember:
            transaction.execute(_FORGET, **consent)
            transaction.execute(_REMEMBER, **_consent_values(family))
        transaction.execute(INSERT_FAMILY, **family_values(family))
        transaction.execute(_INSERT, **values)
        return True

    return await store.transact(save)


async def find_code(store: Store, key: str) -> Code | None:
    """The code, whatever became of it."""
    return await store.find(_BY_KEY, key=key)


async def consume_code(store: Store, code: Code, *, now: float, refresh: tuple[str, float] | None) -> bool:
    """Use `code` up, and begin its refresh tokens with (key, expires_at) if there are to be any.

    Of any number of callers, in any number of processes, one gets True.
    """

    def consume(transaction: Transaction) -> bool:
        if transaction.execute(LOCK_LIVING_FAMILY, family_id=code.family.id).fetchone() is None:
            return False
        used = transaction.execute(_USE, of_key=code.key, now=now)
        if used.rowcount != 1:
            return False
        if refresh:
            transaction.execute(INSERT_REFRESH_TOKEN, key=refresh[0], family_id=code.family.id, expires_at=refresh[1])
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


def _consent_values(family: Family) -> dict[str, Any]:
    return {
        "username": family.username,
        "client_id": family.client_id,
        "resource": family.resource,
        "scope": scope.render(family.scope),
        "created_at": family.created_at,
    }


_CONSENT = sa.and_(
    consents.c.username == sa.bindparam("of_user"),
    consents.c.client_id == sa.bindparam("of_client"),
    consents.c.resource == sa.bindparam("at"),
)
_USER = sa.select(users.c.username).where(users.c.username == sa.bindparam("of_user"))
_CLIENT = clients.c.client_id == sa.bindparam("of_client")

# Each of these selects a row, if it is as it must be; PostgreSQL keeps it so until the transaction's end.
_LOCK_USER = Statement(_USER.with_for_update(read=True, key_share=True))
_LOCK_USER_ALONE = Statement(_USER.with_for_update(read=False, key_share=True))
_LOCK_CLIENT = Statement(
    sa.select(clients.c.client_id).where(_CLIENT, clients.c.disabled.is_(False)).with_for_update(read=True)
)
_LOCK_SESSION = Statement(
    sa.select(sessions.c.key).where(sessions.c.key == sa.bindparam("of_key")).with_for_update(read=True)
)
_LOCK_CONSENT = Statement(sa.select(consents.c.scope).where(_CONSENT).with_for_update(read=True))

_FORGET = Statement(consents.delete().where(_CONSENT))
_REMEMBER = Statement(consents.insert(), "username", "client_id", "resource", "scope", "created_at")
_INSERT = Statement(
    codes.insert(), "key", "family_id", "redirect_uri", "redirect_uri_given", "code_challenge", "expires_at"
)
_USE = Statement(
    codes.update()
    .where(codes.c.key == sa.bindparam("of_key"), codes.c.used_at.is_(None))
    .values(used_at=sa.bindparam("now"))
)
