"""Verbs on signing keys, as they are kept: sealed, and with the time from which each signs."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import signing_keys


@dataclass(frozen=True)
class SealedKey:
    kid: str
    sealed: str = field(repr=False)
    signs_from: float


async def all_keys(store: Store) -> list[SealedKey]:
    async with store.read() as connection:
        rows = await connection.execute(signing_keys.select())
    return [SealedKey(row.kid, row.sealed, row.signs_from) for row in rows]


async def change_keys(store: Store, change: Callable[[Sequence[SealedKey]], Sequence[SealedKey]]) -> list[SealedKey]:
    """Let `change` say what the keys are to be, given what they are. Those who change them at once do it in turn."""
    async with store.exclusive() as connection:
        rows = await connection.execute(signing_keys.select())
        before = [SealedKey(row.kid, row.sealed, row.signs_from) for row in rows]
        after = list(change(before))
        gone = {key.kid for key in before} - {key.kid for key in after}
        if gone:
            await connection.execute(signing_keys.delete().where(signing_keys.c.kid.in_(sorted(gone))))
        for key in after:
            if key not in before:
                await connection.execute(
                    signing_keys.insert().values(kid=key.kid, sealed=key.sealed, signs_from=key.signs_from)
                )
    return after


async def drop_keys(store: Store, kids: Collection[str]) -> None:
    async with store.write() as connection:
        await connection.execute(signing_keys.delete().where(signing_keys.c.kid.in_(sorted(kids))))
