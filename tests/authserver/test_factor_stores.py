"""The verbs on factors, on both databases: of many callers at once one is let through; nothing outlives its user."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import pytest

from garrison.authserver import admin
from garrison.authserver.stores import totp as codes
from garrison.authserver.stores.factors import Factors, factors_of, reset_factors
from garrison.authserver.stores.passkeys import Passkey, find_passkey, passkeys_of, save_passkey, use_passkey
from garrison.authserver.stores.store import Store, open_store
from tests.authserver.world import CHEAP, ON_EVERY_ENGINE, PASSWORD, START

PASSKEY = Passkey("id", "alice", "My phone", b"\x00key", sign_count=7, created_at=START)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        for name in ("alice", "bob"):
            await admin.add_user(store, name, scope="a", password=PASSWORD, cost=CHEAP)
            assert await codes.save_totp(store, codes.SealedTotp(name, "sealed", 10, START), [f"{name}'s code"], "")
        assert await save_passkey(store, PASSKEY)
        yield store


async def at_once(*calls: Coroutine[Any, Any, bool]) -> Sequence[bool]:
    return sorted(await asyncio.gather(*calls))


@ON_EVERY_ENGINE
async def test_of_many_who_use_one_step_at_once_one_is_let_through(store: Store) -> None:
    assert await at_once(*(codes.use_step(store, "alice", 11) for _ in range(10))) == [False] * 9 + [True]
    assert not await codes.use_step(store, "alice", 10)
    assert not await codes.use_step(store, "alice", 11)
    assert await codes.use_step(store, "alice", 13)
    assert not await codes.use_step(store, "alice", 12), "a later one was taken"
    assert await codes.use_step(store, "bob", 11)


@ON_EVERY_ENGINE
async def test_of_many_who_use_one_recovery_code_at_once_one_is_let_through(store: Store) -> None:
    assert not await codes.use_recovery_code(store, "bob", "alice's code")
    uses = (codes.use_recovery_code(store, "alice", "alice's code") for _ in range(10))
    assert await at_once(*uses) == [False] * 9 + [True]


@ON_EVERY_ENGINE
async def test_of_many_who_use_a_passkey_with_one_counter_at_once_one_is_let_through(store: Store) -> None:
    assert await at_once(*(use_passkey(store, PASSKEY, 8, START + 1) for _ in range(10))) == [False] * 9 + [True]
    found = await find_passkey(store, "id")
    assert found
    assert (found.sign_count, found.last_used_at, found.public_key) == (8, START + 1, b"\x00key")


@ON_EVERY_ENGINE
async def test_what_is_there_already_is_not_replaced(store: Store) -> None:
    assert not await codes.save_totp(store, codes.SealedTotp("alice", "other", 0, START), ["another"], "")
    assert not await save_passkey(store, Passkey("id", "bob", "Mine", b"", 0, START))
    found = await codes.find_totp(store, "alice")
    assert (found.sealed if found else "") == "sealed"
    assert await codes.use_recovery_code(store, "alice", "alice's code")
    assert await passkeys_of(store, "bob") == []


@ON_EVERY_ENGINE
async def test_factors_go_with_a_reset_and_with_their_user_and_with_nobody_elses(store: Store) -> None:
    assert await factors_of(store) == {"alice": Factors(True, 1, 1), "bob": Factors(True, 1, 0)}
    await reset_factors(store, "alice", START)
    assert await factors_of(store) == {"alice": Factors(), "bob": Factors(True, 1, 0)}
    await admin.remove_user(store, "bob")
    assert await factors_of(store, "bob") == {}
    await admin.add_user(store, "bob", scope="a", password=PASSWORD, cost=CHEAP)
    assert await factors_of(store, "bob") == {"bob": Factors()}
