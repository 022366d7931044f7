"""Verbs on access tokens, of which nothing is kept but that some are revoked before they expire."""

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import clients, families, revoked_tokens, users


async def revoke_access_token(store: Store, jti: str, expires_at: float) -> bool:
    """Remember until `expires_at` that the token is revoked; whether it was not yet."""
    try:
        async with store.write() as connection:
            await connection.execute(revoked_tokens.insert().values(jti=jti, expires_at=expires_at))
    except IntegrityError:
        return False
    return True


async def access_token_stands(store: Store, *, jti: str, client_id: str, subject: str, family_id: str) -> bool:
    """Whether the token, the grant that it comes of, its client and its user are all still what they were.

    A token without a `family_id` is the client's own (client_credentials).
    """
    client = sa.exists().where(clients.c.client_id == client_id, clients.c.disabled.is_(False))
    revoked = sa.exists().where(revoked_tokens.c.jti == jti)
    conditions = [client, ~revoked]
    if family_id:
        conditions += [
            sa.exists().where(
                families.c.id == family_id, families.c.client_id == client_id, families.c.revoked_at.is_(None)
            ),
            sa.exists().where(users.c.username == subject, users.c.disabled.is_(False)),
        ]
    async with store.read() as connection:
        return bool(await connection.scalar(sa.select(sa.literal(1)).where(*conditions)))
