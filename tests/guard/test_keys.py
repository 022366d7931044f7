"""The issuer's keys: asked for seldom, believed no longer than they may be, and missing keys open nothing."""

import threading
from typing import Any

import anyio
import pytest

from garrison.base.events import Kind
from garrison.guard import keys
from garrison.oauth import jwks
from tests.guard.world import KEY, World, call, others_have_run


async def test_keys_are_fetched_once_for_many_calls_until_they_are_old(world: World) -> None:
    guard = world.guard()
    for age, fetches in [(0, 1), (keys.BACK_OFF, 1), (keys.MAX_AGE - keys.BACK_OFF - 1, 1), (1, 2)]:
        world.clock.now += age
        assert (await world.client(guard, world.mint()).post("/mcp", **call())).status_code == 200
        assert world.issuer.key_fetches == fetches


async def test_callers_who_come_at_once_share_one_fetch_and_so_do_those_who_come_during_it(world: World) -> None:
    guard = world.guard()
    world.issuer.held = threading.Event()
    statuses: list[int] = []

    async def one(jti: str) -> None:
        statuses.append((await world.client(guard, world.mint(jti=jti)).post("/mcp", **call())).status_code)

    async with anyio.create_task_group() as tasks:
        for jti in "abc":
            tasks.start_soon(one, jti)
        await world.issuer.asked()
        for jti in "def":
            tasks.start_soon(one, jti)
        await others_have_run()
        world.issuer.held.set()
    assert statuses == [200] * 6
    assert world.issuer.key_fetches == 1


async def test_a_caller_who_goes_away_does_not_take_the_fetch_along(world: World) -> None:
    """Else whoever comes and goes could keep the keys from everybody."""
    guard = world.guard()
    world.issuer.held = threading.Event()
    async with anyio.create_task_group() as tasks:

        async def goes_away() -> None:
            await world.client(guard).post("/mcp", **call())

        tasks.start_soon(goes_away)
        await world.issuer.asked()
        tasks.cancel_scope.cancel()
        world.issuer.held.set()
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
    assert world.issuer.key_fetches == 1


async def test_a_token_of_a_new_key_that_comes_during_a_fetch_waits_for_it(world: World) -> None:
    guard = world.guard()
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
    world.issuer.keys.append(jwks.new_signing_key("EdDSA"))
    world.clock.now += keys.MAX_AGE
    known = len(world.issuer.fetched)
    world.issuer.held = threading.Event()
    statuses: list[int] = []

    async def one(token: str) -> None:
        statuses.append((await world.client(guard, token).post("/mcp", **call())).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, world.mint(jti="2"))
        await world.issuer.asked(known + 1)
        tasks.start_soon(one, world.mint(key=world.issuer.keys[-1]))
        await others_have_run()
        world.issuer.held.set()
    assert statuses == [200, 200]


async def test_a_new_key_is_learnt_when_its_first_token_comes(world: World) -> None:
    guard = world.guard()
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
    world.issuer.keys.append(jwks.new_signing_key("EdDSA"))
    world.clock.now += keys.BACK_OFF
    token = world.mint(key=world.issuer.keys[-1])
    assert (await world.client(guard, token).post("/mcp", **call())).status_code == 200
    assert world.issuer.key_fetches == 2


async def test_made_up_key_names_cannot_make_the_guard_hammer_the_issuer(world: World) -> None:
    guard = world.guard()
    stranger = jwks.new_signing_key("ES256").private
    for number in range(20):
        token = world.mint(key=jwks.SigningKey(f"made-up-{number}", stranger, "ES256"))
        assert (await world.client(guard, token).post("/mcp", **call())).status_code == 401
    assert world.issuer.key_fetches == 1
    world.clock.now += keys.BACK_OFF
    await world.client(guard, world.mint(key=jwks.SigningKey("x", stranger, "ES256"))).post("/mcp", **call())
    assert world.issuer.key_fetches == 2


async def test_without_keys_and_issuer_the_guard_is_unavailable_and_not_open(world: World) -> None:
    world.issuer.down = True
    response = await world.client(guard := world.guard()).post("/mcp", **call())
    assert response.status_code == 503
    assert 1 <= int(response.headers["retry-after"]) <= keys.BACK_OFF
    assert "www-authenticate" not in response.headers
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.REQUEST_REJECTED]
    asked = len(world.issuer.fetched)
    assert (await world.client(guard).post("/mcp", **call())).status_code == 503
    assert len(world.issuer.fetched) == asked
    world.issuer.down = False
    world.clock.now += int(response.headers["retry-after"])
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200


async def test_known_keys_outlast_an_outage_but_not_for_ever(world: World) -> None:
    guard = world.guard()
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
    world.issuer.down = True
    world.clock.now += keys.OUTAGE_LIMIT - 1
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
    world.clock.now += keys.BACK_OFF
    assert (await world.client(guard, world.mint(jti="2")).post("/mcp", **call())).status_code == 503


async def test_while_keys_are_fetched_anew_only_one_caller_waits(world: World) -> None:
    guard = world.guard()
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
    world.clock.now += keys.MAX_AGE
    known = len(world.issuer.fetched)
    world.issuer.held = threading.Event()
    async with anyio.create_task_group() as tasks:

        async def waits() -> None:
            assert (await world.client(guard, world.mint(jti="w")).post("/mcp", **call())).status_code == 200

        tasks.start_soon(waits)
        await world.issuer.asked(known + 1)
        with anyio.fail_after(60):
            assert (await world.client(guard, world.mint(jti="p")).post("/mcp", **call())).status_code == 200
        world.issuer.held.set()


async def test_a_clock_that_was_set_back_does_not_stop_the_keys_from_being_fetched(world: World) -> None:
    guard = world.guard()
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
    world.clock.now -= 86_400
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
    assert world.issuer.key_fetches == 2


@pytest.mark.parametrize(
    ("metadata", "key_set"),
    [
        ({"issuer": "https://evil.example"}, None),
        ({"issuer": None}, None),
        ({"jwks_uri": ""}, None),
        ({"jwks_uri": 7}, None),
        ({"jwks_uri": "http://192.0.2.1/jwks"}, None),
        ({"jwks_uri": "file:///etc/passwd"}, None),
        ({}, ["not", "a", "set"]),
        ({}, {"keys": {}}),
        ({}, {}),
    ],
)
async def test_documents_that_cannot_be_believed_give_no_keys(
    world: World, metadata: dict[str, Any], key_set: Any
) -> None:
    world.issuer.metadata, world.issuer.key_set = metadata, key_set
    assert (await world.client().post("/mcp", **call())).status_code == 503


@pytest.mark.parametrize(
    "key_set", [{"keys": []}, {"keys": [{"kty": "oct", "kid": KEY.kid, "k": "c2VjcmV0"}]}], ids=["empty", "symmetric"]
)
async def test_a_key_that_the_issuer_took_back_is_not_believed_any_more(world: World, key_set: Any) -> None:
    guard = world.guard()
    assert (await world.client(guard).post("/mcp", **call())).status_code == 200
    world.issuer.key_set = key_set
    world.clock.now += keys.MAX_AGE
    assert (await world.client(guard).post("/mcp", **call())).status_code == 401


async def test_openid_discovery_will_do_where_rfc_8414_has_nothing(world: World) -> None:
    world.issuer.place = "/.well-known/openid-configuration"
    assert (await world.client().post("/mcp", **call())).status_code == 200


async def test_an_issuer_that_never_answers_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "FETCH_TIMEOUT", 0.05)
    world.issuer.held = threading.Event()
    try:
        with anyio.fail_after(60):
            assert (await world.client().post("/mcp", **call())).status_code == 503
    finally:
        world.issuer.held.set()
