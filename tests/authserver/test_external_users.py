"""The verbs behind sign-in at a provider are atomic, on each engine."""

import asyncio

from garrison.authserver.records import User
from garrison.authserver.stores.departures import Departure, save_departure, take_departure
from garrison.authserver.stores.identities import find_external, save_external
from garrison.authserver.stores.purge import purge
from garrison.authserver.stores.store import open_store
from garrison.authserver.stores.users import delete_user
from tests.authserver.world import ON_EVERY_ENGINE

ISSUER = "https://login.example"
ALICE = User("idp:alice", frozenset({"a"}), disabled=False, created_at=1.0, external=True)


@ON_EVERY_ENGINE
async def test_a_departure_is_taken_by_one_of_many_and_by_its_browser_alone(database_url: str) -> None:
    async with open_store(database_url) as store:
        for key in ("1", "2", "3"):
            await save_departure(store, Departure(key, "browser", "sealed", "a b", 10.0))
        assert await take_departure(store, "1", "another", 9.0) is None
        assert await take_departure(store, "1", "browser", 10.0) is None
        taken = await asyncio.gather(*(take_departure(store, "1", "browser", 9.0) for _ in range(8)))
        assert [one for one in taken if one] == [Departure("1", "browser", "sealed", "a b", 10.0)]
        assert await purge(store, 10.5) == 2
        assert await take_departure(store, "2", "browser", 9.0) is None


@ON_EVERY_ENGINE
async def test_a_subject_has_one_user_and_a_user_one_subject(database_url: str) -> None:
    async with open_store(database_url) as store:
        saved = await asyncio.gather(*(save_external(store, ALICE, ISSUER, "1") for _ in range(6)))
        assert saved.count(True) == 1
        assert await find_external(store, ISSUER, "1") == ALICE
        assert not await save_external(store, ALICE, ISSUER, "2"), "the name is taken"
        other = User("idp:bob", frozenset({"a"}), disabled=False, created_at=1.0, external=True)
        assert not await save_external(store, other, ISSUER, "1"), "the subject is taken"
        assert await find_external(store, ISSUER, "2") is None
        assert await find_external(store, "https://other.example", "1") is None
        assert await save_external(store, other, "https://other.example", "1")
        await delete_user(store, "idp:alice")
        assert await find_external(store, ISSUER, "1") is None
