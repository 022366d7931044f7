"""A whole database into an empty one: from SQLite to PostgreSQL, or into a backup that is of one moment."""

import sqlalchemy as sa

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import METADATA
from garrison.base.errors import UsageError

BATCH = 500


async def copy_all(source: Store, target: Store) -> int:
    """Copy every row of `source` as it is at one moment; all of them arrive or none. Returns how many.

    Raises:
        UsageError: `target` is not empty.
        StoreUnavailableError: one of the two doesn't answer.
    """
    copied = 0
    async with source.read() as origin, target.exclusive() as goal:
        for table in METADATA.sorted_tables:
            if await goal.scalar(sa.select(sa.literal(1)).select_from(table).limit(1)):
                raise UsageError(
                    "the database to copy into is not empty", "Copy into a new one, before a server is started on it."
                )
        for table in METADATA.sorted_tables:
            rows = await origin.stream(table.select())
            async for batch in rows.partitions(BATCH):
                await goal.execute(table.insert(), [dict(row._mapping) for row in batch])  # noqa: SLF001 - its public name
                copied += len(batch)
    return copied
