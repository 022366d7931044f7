"""Verbs on browsers that were sent to the identity provider: each comes back once, by its own cookie, and in time."""

from dataclasses import dataclass

from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import departures


@dataclass(frozen=True)
class Departure:
    """What waits for a browser's return.

    Attributes:
        key: the hash of the `state` that went along.
        browser: the hash of the cookie that the browser left with.
        request: the sealed authorization request; empty for a sign-in to the user's own page.
        agreed: the scope that the user has let the client have before leaving.
        expires_at: until when it waits.
    """

    key: str
    browser: str
    request: str
    agreed: str
    expires_at: float


async def save_departure(store: Store, departure: Departure) -> None:
    async with store.write() as connection:
        await connection.execute(departures.insert().values(vars(departure)))


async def take_departure(store: Store, key: str, browser: str, now: float) -> Departure | None:
    """The departure, gone with this: of any number of callers one gets it, and another browser never does."""
    ours = departures.delete().where(
        departures.c.key == key, departures.c.browser == browser, departures.c.expires_at > now
    )
    async with store.write() as connection:
        row = (await connection.execute(ours.returning(departures))).one_or_none()
    return Departure(**row._mapping) if row else None  # noqa: SLF001 - its public name
