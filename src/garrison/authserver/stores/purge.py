"""What has expired goes, a few rows at a time, so that no request waits long behind it."""

import sqlalchemy as sa

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import (
    attempts,
    clients,
    codes,
    consents,
    departures,
    families,
    refresh_tokens,
    revoked_tokens,
    sessions,
    used_assertions,
)

BATCH = 500
KEPT = 86_400
"""Seconds that used and expired codes and tokens stay, so that their replay is still known for what it is."""

UNUSED_KEPT = 30 * KEPT
"""Seconds that a client that has registered itself stays though nobody has granted it anything, or no longer."""


async def purge(store: Store, now: float, batch: int = BATCH) -> int:
    """Delete at most `batch` rows of each table; returns how many went. Replicas that do so at once share the work.

    A family goes after its last code and token: the database would delete them with it, however many there are.
    """
    over = sa.select(families.c.id).where(families.c.expires_at < now - KEPT)
    granted = sa.union(sa.select(families.c.client_id), sa.select(consents.c.client_id))
    # A disabled client stays: it would come back by its document, and nobody would know that it was disabled.
    unused = clients.c.client_id.not_in(granted) & clients.c.disabled.is_(False)
    gone = 0
    for table, expired in (
        (codes, sa.or_(codes.c.expires_at < now - KEPT, codes.c.family_id.in_(over))),
        (refresh_tokens, sa.or_(refresh_tokens.c.expires_at < now - KEPT, refresh_tokens.c.family_id.in_(over))),
        (families, sa.and_(families.c.expires_at < now - KEPT, *_childless())),
        (clients, (clients.c.source == "document") & (clients.c.fresh_until < now - KEPT) & unused),
        (clients, (clients.c.source == "registration") & (clients.c.created_at < now - UNUSED_KEPT) & unused),
        (sessions, sessions.c.expires_at < now),
        (departures, departures.c.expires_at < now),
        (attempts, attempts.c.forgotten_at < now),
        (revoked_tokens, revoked_tokens.c.expires_at < now),
        (used_assertions, used_assertions.c.expires_at < now),
    ):
        key = next(iter(table.primary_key))
        doomed = sa.select(key).where(expired).limit(batch).with_for_update(skip_locked=True, of=table)
        async with store.write() as connection:
            gone += (await connection.execute(table.delete().where(key.in_(doomed)))).rowcount
    return gone


def _childless() -> list[sa.ColumnElement[bool]]:
    return [
        ~sa.exists().where(child.c.family_id == families.c.id).correlate(families) for child in (codes, refresh_tokens)
    ]
