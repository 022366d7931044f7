"""The one verb on client assertions: each is used once (RFC 7523 §3, jti)."""

from sqlalchemy.exc import IntegrityError

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import used_assertions


async def use_assertion(store: Store, key: str, forgotten_at: float) -> bool:
    """Of any number of callers with one `key`, in any number of processes, one gets True."""
    try:
        async with store.write() as connection:
            await connection.execute(used_assertions.insert().values(key=key, expires_at=forgotten_at))
    except IntegrityError:
        return False
    return True
