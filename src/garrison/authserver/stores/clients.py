"""Verbs on clients."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from garrison.authserver.records import Client
from garrison.authserver.stores.lookup import Lookup
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import clients, consents, families
from garrison.oauth import scope


async def save_client(store: Store, client: Client, secret_hash: str | None) -> None:
    async with store.write() as connection:
        await connection.execute(clients.insert().values(**_values(client), secret_hash=secret_hash))


async def put_document_client(store: Store, client: Client, *, same_identity: Callable[[Client], bool]) -> None:
    """Keep what a client's document says now; what users had consented to for good is forgotten unless `same_identity`.

    Whether it is disabled, and since when it is known, stays as it was.
    """
    mine = clients.c.client_id == client.client_id
    async with store.write() as connection:
        if await _inserted(connection, client):
            return
        known = (await connection.execute(clients.select().where(mine).with_for_update())).one()
        values = {name: value for name, value in _values(client).items() if name not in ("disabled", "created_at")}
        await connection.execute(clients.update().where(mine).values(**values))
        if not same_identity(as_client(known)):
            await connection.execute(consents.delete().where(consents.c.client_id == client.client_id))


async def _inserted(connection: AsyncConnection, client: Client) -> bool:
    try:
        async with connection.begin_nested():
            await connection.execute(clients.insert().values(**_values(client)))
    except IntegrityError:
        return False
    return True


def _values(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "method": client.method,
        "grants": sorted(client.grants),
        "scope": scope.render(client.scope),
        "redirect_uris": list(client.redirect_uris),
        "resources": list(client.resources),
        "introspects": list(client.introspects),
        "jwks": client.jwks,
        "jwks_uri": client.jwks_uri,
        "source": client.source,
        "fresh_until": client.fresh_until,
        "disabled": client.disabled,
        "created_at": client.created_at,
    }


async def find_client(store: Store, client_id: str) -> tuple[Client, str | None] | None:
    """The client, disabled or not, and the hash of its secret if it has one."""
    return await store.find(_BY_ID, client_id=client_id)


async def all_clients(store: Store) -> list[Client]:
    async with store.read() as connection:
        rows = await connection.execute(clients.select().order_by(clients.c.created_at, clients.c.client_id))
    return [as_client(row) for row in rows]


async def set_client_secret(store: Store, client_id: str, secret_hash: str) -> bool:
    async with store.write() as connection:
        result = await connection.execute(
            clients.update().where(clients.c.client_id == client_id).values(secret_hash=secret_hash)
        )
    return result.rowcount == 1


async def set_client_disabled(store: Store, client_id: str, *, disabled: bool, now: float) -> bool:
    """Whatever the client was granted has ended, for good: users are asked anew."""
    async with store.write() as connection:
        result = await connection.execute(
            clients.update().where(clients.c.client_id == client_id).values(disabled=disabled)
        )
        await connection.execute(consents.delete().where(consents.c.client_id == client_id))
        await connection.execute(
            families.update()
            .where(families.c.client_id == client_id, families.c.revoked_at.is_(None))
            .values(revoked_at=now)
        )
    return result.rowcount == 1


async def delete_client(store: Store, client_id: str) -> bool:
    """Gone with its consents, codes and refresh tokens (ON DELETE CASCADE)."""
    async with store.write() as connection:
        result = await connection.execute(clients.delete().where(clients.c.client_id == client_id))
    return result.rowcount == 1


def as_client(row: Any) -> Client:
    return Client(
        client_id=row.client_id,
        name=row.name,
        method=row.method,
        grants=frozenset(row.grants),
        scope=scope.parse(row.scope),
        redirect_uris=tuple(row.redirect_uris),
        resources=tuple(row.resources),
        introspects=tuple(row.introspects),
        jwks=row.jwks,
        jwks_uri=row.jwks_uri,
        source=row.source,
        fresh_until=row.fresh_until,
        disabled=row.disabled,
        created_at=row.created_at,
    )


def _with_secret(row: Any) -> tuple[Client, str | None]:
    return as_client(row), row.secret_hash


_BY_ID = Lookup(clients.select().where(clients.c.client_id == sa.bindparam("client_id")), _with_secret, remembered=256)
