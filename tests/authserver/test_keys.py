"""Statement 4: a key is published before its first use and kept until its last token has expired."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jws import extract_compact

from garrison.authserver import admin, key_schedule
from garrison.authserver.key_schedule import JWKS_MAX_AGE, KEPT, LEAD, RELOAD, ScheduledKey
from garrison.authserver.keys import KeyRing, list_keys, rotate_keys
from garrison.authserver.settings import MAX_ACCESS_TOKEN_LIFETIME
from garrison.authserver.stores.store import Store, open_store
from garrison.base.errors import GarrisonError
from garrison.oauth import access_token, jwks
from garrison.serving import free_port
from tests.authserver.replica import ISSUER as REPLICA
from tests.authserver.test_code import everything_on_disk
from tests.authserver.world import ON_EVERY_ENGINE, RESOURCE, START, Make, World

SECRET = b"s" * 32
KEYS = [jwks.new_signing_key("ES256") for _ in range(6)]


def seen(rotations: list[float], at: float) -> list[ScheduledKey]:
    """The keys that whoever reads the database `at` this time finds: one from the beginning, one more by rotation."""
    later = [ScheduledKey(key, when + LEAD) for key, when in zip(KEYS[1:], rotations, strict=False) if when <= at]
    return [ScheduledKey(KEYS[0], -1e6), *later]


LAG = st.floats(0, RELOAD)
SKEW = st.floats(-60, 60)
AGE = st.floats(0, MAX_ACCESS_TOKEN_LIFETIME)
CACHED = st.floats(0, 2 * JWKS_MAX_AGE)
SINCE = st.one_of(st.floats(-1000, 2 * LEAD), st.floats(LEAD + KEPT - 1000, LEAD + KEPT + 1000))
TIME = st.floats(0, 20_000)


@settings(max_examples=1000)
@given(st.lists(TIME, min_size=1, max_size=5), SINCE, LAG, SKEW, LAG, SKEW, AGE, CACHED)
def test_04_no_token_is_ever_signed_with_a_key_that_its_reader_can_not_have(
    rotations: list[float],
    since: float,
    lag: float,
    skew: float,
    other_lag: float,
    other_skew: float,
    age: float,
    cached: float,
) -> None:
    """Two replicas, each with a clock and a copy of the keys of its own age; the reader asked the other replica, and
    keeps what it got for up to two caches of 300 seconds."""
    now = rotations[0] + since
    rotations = sorted(rotations)
    key = key_schedule.signing(seen(rotations, now - lag), now + skew)
    asked = now + age - cached
    told = key_schedule.published(seen(rotations, asked - other_lag), asked + other_skew)
    assert key.kid in {each.kid for each in told}


def test_04_the_lead_covers_what_readers_may_cache() -> None:
    assert LEAD >= RELOAD + 2 * JWKS_MAX_AGE
    assert KEPT > MAX_ACCESS_TOKEN_LIFETIME


def test_04_a_key_is_published_then_signs_then_retires_then_goes() -> None:
    keys = [ScheduledKey(KEYS[0], 0.0), ScheduledKey(KEYS[1], 1000.0)]
    states = {
        at: [key_schedule.state(keys, key, at) for key in keys] for at in (999.0, 1000.0, 999.0 + KEPT, 1000.0 + KEPT)
    }
    assert states == {
        999.0: ["signing", "published"],
        1000.0: ["retiring", "signing"],
        999.0 + KEPT: ["retiring", "signing"],
        1000.0 + KEPT: ["gone", "signing"],
    }


def test_a_clock_that_is_set_back_still_signs() -> None:
    assert key_schedule.signing([ScheduledKey(KEYS[0], 1000.0), ScheduledKey(KEYS[1], 2000.0)], 0.0) is KEYS[0]


@asynccontextmanager
async def two_rings(url: str) -> AsyncIterator[tuple[Store, KeyRing, KeyRing]]:
    async with open_store(url) as store, open_store(url) as other:
        yield store, KeyRing(store, SECRET), KeyRing(other, SECRET)


@ON_EVERY_ENGINE
async def test_replicas_that_begin_at_once_have_one_key(database_url: str) -> None:
    async with two_rings(database_url) as (store, one, two), anyio.create_task_group() as group:
        group.start_soon(one.open, START)
        group.start_soon(two.open, START)
    async with open_store(database_url) as store:
        assert len(await list_keys(store, SECRET)) == 1
    assert one.signing(START).kid == two.signing(START).kid


@ON_EVERY_ENGINE
async def test_04_a_rotation_reaches_every_replica_before_it_counts(database_url: str) -> None:
    async with two_rings(database_url) as (store, one, two):
        for ring in (one, two):
            await ring.open(START)
        old = one.signing(START).kid
        new = (await rotate_keys(store, SECRET, START, alg="ES256")).key.kid
        for ring in (one, two):
            await ring.reload(START)
            assert [key.kid for key in ring.published(START)] == [new, old]
            assert ring.signing(START + LEAD - 1).kid == old
            assert ring.signing(START + LEAD).kid == new
            assert [key.kid for key in ring.published(START + LEAD + KEPT - 1)] == [new, old]
        await one.reload(START + LEAD + KEPT)
        assert [each.key.kid for each in await list_keys(store, SECRET)] == [new], "a key without tokens is thrown away"


@ON_EVERY_ENGINE
async def test_a_compromised_key_is_gone_at_once(database_url: str) -> None:
    async with two_rings(database_url) as (store, one, two):
        await one.open(START)
        await two.open(START)
        new = (await rotate_keys(store, SECRET, START, alg="ES256", compromised=True)).key.kid
        await two.reload(START)
        assert [key.kid for key in two.published(START)] == [new]
        assert two.signing(START).kid == new


@ON_EVERY_ENGINE
async def test_another_secret_neither_opens_nor_adds_a_key(database_url: str) -> None:
    async with open_store(database_url) as store:
        await KeyRing(store, SECRET).open(START)
        with pytest.raises(GarrisonError, match="another secret"):
            await KeyRing(store, b"t" * 32).open(START)
        with pytest.raises(GarrisonError, match="another secret"):
            await rotate_keys(store, b"t" * 32, START)
        assert len(await list_keys(store, SECRET)) == 1


@ON_EVERY_ENGINE
async def test_keys_in_the_database_are_sealed(world: World) -> None:
    disk = await everything_on_disk(world)
    private = world.settings.signing_keys[0].private.as_dict(private=True)
    assert world.settings.signing_keys[0].kid.encode() in disk
    assert str(private["d"]).encode() not in disk
    assert b'"d"' not in disk


@ON_EVERY_ENGINE
async def test_a_running_server_picks_a_new_key_up_without_a_restart(
    make_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_schedule, "RELOAD", 0.01)
    world = await make_world()
    client = await world.client()

    async def kids() -> list[str]:
        async with world.browser() as http:
            return [key["kid"] for key in (await http.get("/jwks")).json()["keys"]]

    async def signer() -> str:
        token = (await world.token(client, {"grant_type": "client_credentials"})).json()["access_token"]
        return str(jwks_header(token)["kid"])

    old = await signer()
    new = (await rotate_keys(world.store, world.settings.secret, world.time, alg="ES256")).key.kid
    with anyio.fail_after(60):
        while new not in await kids():
            await anyio.sleep(0.01)
    assert await signer() == old
    world.time += LEAD
    assert await signer() == new
    assert await kids() == [new, old]
    world.time += KEPT
    assert await kids() == [new]


@contextmanager
def replica(url: str) -> Iterator[str]:
    """A server process; its address."""
    port = free_port("localhost", 0)
    command = [sys.executable, "-m", "tests.authserver.replica", str(port), url]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.no_cover
@pytest.mark.needs("postgresql")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_04_through_a_whole_rotation_two_server_processes_issue_no_token_that_a_cached_key_set_refuses(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader caches what one replica publishes for a second, and judges what the other one signs."""
    monkeypatch.setattr(key_schedule, "LEAD", 6)
    async with open_store(database_url) as store, httpx2.AsyncClient(trust_env=False) as http:
        client = await admin.add_client(store, "robot", grants=["client_credentials"], scope="customer:read")
        with replica(database_url) as one, replica(database_url) as two, anyio.fail_after(60):
            for address in (one, two):
                await answering(http, address)
            rotated = ""
            fetched_at, keys = 0.0, dict[str, dict[str, object]]()
            signers: list[str] = []
            while signers[-2:] != [rotated, rotated]:
                if time.monotonic() > fetched_at + 1:
                    fetched_at, keys = time.monotonic(), jwks.by_kid((await http.get(f"{two}/jwks")).json())
                for address in (one, two):
                    token = await robots_token(http, address, client)
                    access_token.verify(token, keys, issuer=REPLICA, audience=RESOURCE, now=time.time())
                    signers.append(str(jwks_header(token)["kid"]))
                rotated = rotated or (await rotate_keys(store, SECRET, time.time(), alg="ES256")).key.kid
            assert len(set(signers)) == 2
            assert len(keys) == 2, "the old one is still published: its tokens are alive"


async def answering(http: httpx2.AsyncClient, address: str) -> None:
    while True:
        try:
            if (await http.get(f"{address}/healthz")).status_code == 200:
                return
        except httpx2.TransportError:
            await anyio.sleep(0.05)


async def robots_token(http: httpx2.AsyncClient, address: str, client: admin.NewClient) -> str:
    auth = (client.client_id, client.client_secret or "")
    response = await http.post(f"{address}/token", data={"grant_type": "client_credentials"}, auth=auth)
    return str(response.json()["access_token"])


def jwks_header(token: str) -> dict[str, object]:
    return dict(extract_compact(token.encode()).headers())
