"""What PostgreSQL's row locks are for: a verb that began before a change was committed must not miss it.

Each change is held open until the verb waits for it, or has ended without.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from garrison.authserver import seal
from garrison.authserver.records import Client, Code, Family
from garrison.authserver.stores.attempts import charge_attempt
from garrison.authserver.stores.clients import find_client, put_document_client
from garrison.authserver.stores.codes import consume_code, save_code
from garrison.authserver.stores.passkeys import Passkey, save_passkey
from garrison.authserver.stores.refresh_tokens import Successor, find_refresh_token, rotate_refresh
from garrison.authserver.stores.sessions import Shown, count_sessions, save_session
from garrison.authserver.stores.signing_keys import SealedKey, change_keys
from garrison.authserver.stores.store import _EXCLUSIVE
from garrison.authserver.stores.tables import (
    attempts,
    clients,
    consents,
    families,
    passkeys,
    sessions,
    signing_keys,
    users,
)
from garrison.authserver.stores.totp import SealedTotp, save_totp
from garrison.authserver.stores.users import find_user
from tests.authserver.world import RESOURCE, World

pytestmark = [
    pytest.mark.needs("postgresql"),
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]
T = TypeVar("T")
WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
ALICE, SESSION = users.c.username == "alice", "s" * 64


async def meanwhile(world: World, changes: Sequence[sa.Executable], verb: Coroutine[Any, Any, T]) -> T:
    """What `verb` answers that began after `changes` were made, and before they were committed."""
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(world.store.write())
        for change in changes:
            await connection.execute(change)
        answer = asyncio.ensure_future(verb)
        while not answer.done() and not await _somebody_waits(world):
            await asyncio.sleep(0)
    return await answer


async def _somebody_waits(world: World) -> bool:
    async with world.store.read() as connection:
        return bool(await connection.scalar(WAITING))


@pytest.fixture
async def code(world: World) -> Code:
    """Of alice, not saved yet, but with a session to save it in."""
    await world.user()
    client = await world.client()
    begun = sessions.insert().values(key=SESSION, username="alice", created_at=world.time, expires_at=world.time + 99)
    async with world.store.write() as connection:
        await connection.execute(begun)
    read = frozenset({"customer:read"})
    ends = world.time + 1000
    family = Family(seal.new_id(), client.client_id, "alice", SESSION, read, RESOURCE, world.time, ends, False)
    return Code(seal.new_id(), family, "https://app.example", True, "c" * 43, world.time + 60, False)


def remembered(world: World, code: Code) -> sa.Insert:
    return consents.insert().values(
        username="alice",
        client_id=code.family.client_id,
        resource=RESOURCE,
        scope="customer:read",
        created_at=world.time,
    )


async def test_a_code_is_not_saved_while_its_session_ends(world: World, code: Code) -> None:
    assert not await meanwhile(world, [sessions.delete()], save_code(world.store, code))


async def test_a_code_is_not_saved_while_its_client_is_disabled(world: World, code: Code) -> None:
    assert not await meanwhile(world, [clients.update().values(disabled=True)], save_code(world.store, code))


async def test_a_code_is_not_saved_while_its_user_goes(world: World, code: Code) -> None:
    """Without a deadlock: whoever takes a user away ends the sessions after it."""
    assert not await meanwhile(world, [users.delete()], save_code(world.store, code))


async def test_a_code_is_not_saved_while_the_consent_that_stood_for_a_yes_is_taken_back(
    world: World, code: Code
) -> None:
    async with world.store.write() as connection:
        await connection.execute(remembered(world, code))
    assert not await meanwhile(world, [consents.delete()], save_code(world.store, code, remembered=True))


async def test_of_two_who_remember_one_consent_the_second_replaces_the_firsts(world: World, code: Code) -> None:
    first = [sa.select(users.c.username).where(ALICE).with_for_update(key_share=True), remembered(world, code)]
    assert await meanwhile(world, first, save_code(world.store, code, remember=True))


async def test_a_code_and_a_refresh_token_are_not_used_while_their_grant_ends(world: World, code: Code) -> None:
    ended = [families.update().values(revoked_at=world.time)]
    again = families.update().values(revoked_at=None)
    heir = Successor("heir", "salt", world.time + 50)
    assert await save_code(world.store, code)
    assert not await meanwhile(world, ended, consume_code(world.store, code, now=world.time, refresh=None))
    async with world.store.write() as connection:
        await connection.execute(again)
    assert await consume_code(world.store, code, now=world.time, refresh=("key", world.time + 50))
    token = await find_refresh_token(world.store, "key")
    assert token
    refresh = rotate_refresh(world.store, token, heir, now=world.time, grace=9)
    assert await meanwhile(world, ended, refresh) is None


def begun(world: World, shown: Shown) -> Coroutine[Any, Any, bool]:
    return save_session(
        world.store, seal.new_id(), username="alice", shown=shown, now=world.time, expires_at=world.time + 99
    )


async def test_no_session_begins_while_the_password_changes_or_the_user_is_disabled(world: World) -> None:
    await world.user()
    _, shown = await find_user(world.store, "alice") or (None, "")
    changed = [users.update().values(password_hash="another")]
    assert not await meanwhile(world, changed, begun(world, Shown(password_hash=shown)))
    disabled = [users.update().values(disabled=True)]
    assert not await meanwhile(world, disabled, begun(world, Shown(password_hash="another")))


async def test_no_session_begins_while_its_passkey_is_removed(world: World) -> None:
    await world.user()
    assert await save_passkey(world.store, Passkey("id", "alice", "phone", b"key", 0, world.time))
    assert not await meanwhile(world, [passkeys.delete()], begun(world, Shown(credential_id="id")))


async def test_who_signs_in_by_the_password_alone_while_an_app_is_set_up_is_signed_out(world: World) -> None:
    await world.user()
    signing_in = [
        sa.select(users.c.username).where(ALICE).with_for_update(read=True),
        sessions.insert().values(key=SESSION, username="alice", created_at=world.time, expires_at=world.time + 99),
    ]
    made = SealedTotp("alice", "sealed", 0, world.time)
    assert await meanwhile(world, signing_in, save_totp(world.store, made, ["code"], "another session"))
    assert await count_sessions(world.store, "alice", world.time) == 0


async def test_of_two_failures_at_once_both_count(world: World) -> None:
    async def fail() -> float:
        return await charge_attempt(world.store, {"key": lambda _failures: 0.0}, now=world.time, memory=99)

    await fail()
    assert await meanwhile(world, [attempts.update().values(failures=attempts.c.failures + 1)], fail()) == 0
    async with world.store.read() as connection:
        assert await connection.scalar(sa.select(attempts.c.failures)) == 3


async def test_a_document_that_changes_while_its_client_is_disabled_enables_nobody(world: World) -> None:
    document = Client(
        client_id="https://app.example/c",
        name="App",
        method="none",
        grants=frozenset({"authorization_code"}),
        scope=frozenset({"customer:read"}),
        redirect_uris=("https://app.example/",),
        resources=(),
        disabled=False,
        created_at=world.time,
        source="document",
        fresh_until=world.time + 99,
    )
    await put_document_client(world.store, document, same_identity=lambda _row: True)
    newer = replace(document, name="Newer")
    disabled = [clients.update().values(disabled=True)]
    await meanwhile(world, disabled, put_document_client(world.store, newer, same_identity=lambda _row: True))
    found, _ = await find_client(world.store, document.client_id) or (document, None)
    assert (found.name, found.disabled) == ("Newer", True)


async def test_replicas_change_the_keys_in_turn(world: World) -> None:
    theirs = signing_keys.insert().values(kid="theirs", sealed="sealed", signs_from=world.time)
    seen = list[str]()

    def change(keys: Sequence[SealedKey]) -> Sequence[SealedKey]:
        seen.extend(key.kid for key in keys)
        return keys

    await meanwhile(
        world, [sa.select(sa.func.pg_advisory_xact_lock(_EXCLUSIVE)), theirs], change_keys(world.store, change)
    )
    assert "theirs" in seen
