"""A row that is looked up on the event loop's own thread is what the engine would have found, at that moment."""

from typing import Any

import pytest

from garrison.authserver import admin, seal
from garrison.authserver.stores import clients, codes, refresh_tokens, sessions, users
from garrison.authserver.stores.lookup import Lookup, OwnReader
from garrison.oauth import jwks
from tests.authserver.world import RESOURCE, START, World

CLIENT_CREDENTIALS = {"grant_type": "client_credentials", "resource": RESOURCE}


async def asked_with(world: World) -> dict[Lookup[Any], dict[str, Any]]:
    """Every lookup there is, and values that it finds a row with."""
    await world.user()
    client = await world.client()
    keys = jwks.public_set([jwks.new_signing_key("ES256")])
    keyed = await world.client(method="private_key_jwt", jwks=keys, resources=[RESOURCE])
    code = await world.code(client)
    refresh = (await world.tokens(client))["refresh_token"]
    consent = {"username": "alice", "client_id": client.client_id, "resource": RESOURCE}
    await world.remember(**consent, scope="customer:read")
    found = await users.find_user(world.store, "alice")
    assert found
    shown = sessions.Shown(password_hash=found[1])
    saved = await sessions.save_session(
        world.store, "k" * 64, username="alice", shown=shown, now=START, expires_at=START + 60
    )
    assert saved
    return {
        clients._BY_ID: {"client_id": keyed.client_id},
        users._BY_NAME: {"username": "alice"},
        users._REMEMBERED: consent,
        codes._BY_KEY: {"key": seal.hashed(code)},
        refresh_tokens._BY_KEY: {"key": seal.hashed(refresh)},
        sessions._LIVING: {"key": "k" * 64, "now": START},
    }


async def test_each_lookup_finds_on_its_own_thread_what_the_engine_finds(world: World) -> None:
    cases = await asked_with(world)
    modules = (clients, codes, refresh_tokens, sessions, users)
    assert set(cases) == {each for module in modules for each in vars(module).values() if isinstance(each, Lookup)}
    assert world.store._own is not None
    for lookup, values in cases.items():
        found = world.store._own.find(lookup, values)
        async with world.store.read() as connection:
            row = (await connection.execute(lookup.query, values)).one()
        assert found is not None
        assert found == lookup.make(row)
        assert world.store._own.find(lookup, dict.fromkeys(values, "none")) is None


@pytest.mark.parametrize("change", ["disabled", "rotated", "removed"])
async def test_what_an_operator_does_to_a_client_holds_for_its_very_next_request(world: World, change: str) -> None:
    client = await world.client()
    assert (await world.token(client, CLIENT_CREDENTIALS)).status_code == 200
    async with admin.open_store(world.settings.database_url) as elsewhere:  # as another process would
        if change == "disabled":
            await admin.disable_client(elsewhere, client.client_id)
        elif change == "rotated":
            await admin.rotate_client_secret(elsewhere, client.client_id)
        else:
            await admin.remove_client(elsewhere, client.client_id)
    assert (await world.token(client, CLIENT_CREDENTIALS)).status_code == 401


async def test_a_row_that_can_not_be_read_so_is_asked_for_through_the_engine(world: World) -> None:
    client = await world.client()
    world.store._own = OwnReader("/nowhere/auth.db")
    found = await clients.find_client(world.store, client.client_id)
    assert found is not None
    assert found[0] == client.client
    assert await clients.find_client(world.store, "nobody") is None


async def test_a_reader_never_makes_or_writes_a_file(world: World) -> None:
    reader = world.store._own
    assert reader is not None
    await clients.find_client(world.store, "nobody")
    assert reader._connection is not None
    assert reader._connection.execute("PRAGMA query_only").fetchone() == (1,)
