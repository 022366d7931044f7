"""Verbs on clients."""

from typing import Any

from garrison.authserver.records import Client
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import clients, families
from garrison.oauth import scope


async def save_client(store: Store, client: Client, secret_hash: str | None) -> None:
    async with store.write() as connection:
        await connection.execute(
            clients.insert().values(
                client_id=client.client_id,
                name=client.name,
                method=client.method,
                secret_hash=secret_hash,
                grants=sorted(client.grants),
                scope=scope.render(client.scope),
                redirect_uris=list(client.redirect_uris),
                resources=list(client.resources),
                disabled=client.disabled,
                created_at=client.created_at,
            )
        )


async def find_client(store: Store, client_id: str) -> tuple[Client, str | None] | None:
    """The client, disabled or not, and the hash of its secret if it has one."""
    async with store.read() as connection:
        row = (await connection.execute(clients.select().where(clients.c.client_id == client_id))).one_or_none()
    return (_client(row), row.secret_hash) if row else None


async def all_clients(store: Store) -> list[Client]:
    async with store.read() as connection:
        rows = await connection.execute(clients.select().order_by(clients.c.created_at, clients.c.client_id))
    return [_client(row) for row in rows]


async def set_client_secret(store: Store, client_id: str, secret_hash: str) -> bool:
    async with store.write() as connection:
        result = await connection.execute(
            clients.update().where(clients.c.client_id == client_id).values(secret_hash=secret_hash)
        )
    return result.rowcount == 1


async def set_client_disabled(store: Store, client_id: str, *, disabled: bool, now: float) -> bool:
    """Whatever the client was granted has ended, for good."""
    async with store.write() as connection:
        result = await connection.execute(
            clients.update().where(clients.c.client_id == client_id).values(disabled=disabled)
        )
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


def _client(row: Any) -> Client:
    return Client(
        client_id=row.client_id,
        name=row.name,
        method=row.method,
        grants=frozenset(row.grants),
        scope=scope.parse(row.scope),
        redirect_uris=tuple(row.redirect_uris),
        resources=tuple(row.resources),
        disabled=row.disabled,
        created_at=row.created_at,
    )
