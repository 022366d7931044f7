"""Statements 40 to 45: refresh tokens, and how they end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from garrison.authserver import admin, seal
from garrison.authserver.admin import NewClient
from garrison.authserver.admin_grants import list_grants, revoke_grant, show_grant
from garrison.authserver.stores.codes import consume_code, find_code
from garrison.authserver.stores.families import revoke_family
from garrison.authserver.stores.purge import KEPT, purge
from garrison.authserver.stores.refresh_tokens import Successor, find_refresh_token, rotate_refresh
from garrison.authserver.stores.tables import refresh_tokens, users
from garrison.base.errors import EventStoreError, UsageError
from garrison.base.events import Kind
from tests.authserver.test_code import everything_on_disk, issued
from tests.authserver.world import ON_EVERY_ENGINE, RESOURCE, SCOPES, Forms, Make, World


async def start(world: World, **changes: Any) -> tuple[NewClient, str]:
    await world.user()
    client = await world.client(**changes)
    return client, (await world.tokens(client, scope="customer:read ticket:create"))["refresh_token"]


async def alive(world: World, client: NewClient, token: str) -> bool:
    response = await world.refresh(client, token)
    assert response.status_code == 200 or response.json()["error"] == "invalid_grant"
    return response.status_code == 200


async def rows(world: World) -> int:
    async with world.store.read() as connection:
        return len((await connection.execute(refresh_tokens.select())).all())


@pytest.mark.parametrize("public", [False, True])
@ON_EVERY_ENGINE
async def test_40_a_refresh_token_rotates_on_every_use(world: World, public: bool) -> None:
    client, token = await start(world, public=public)
    seen = {token}
    for _ in range(4):
        token = (await world.refresh(client, token)).json()["refresh_token"]
        assert token not in seen
        seen.add(token)


@ON_EVERY_ENGINE
async def test_41_reuse_kills_the_family_and_the_grant(world: World) -> None:
    client, first = await start(world)
    second = (await world.refresh(client, first)).json()["refresh_token"]
    world.time += world.settings.refresh_grace
    assert not await alive(world, client, first)
    assert not await alive(world, client, second)
    assert world.events.of(Kind.TOKEN_REUSED)[0].subject == "alice"


@ON_EVERY_ENGINE
async def test_41_a_retry_within_the_grace_gets_the_same_successor_again(world: World) -> None:
    client, first = await start(world)
    second = (await world.refresh(client, first)).json()["refresh_token"]
    world.time += world.settings.refresh_grace - 1
    assert (await world.refresh(client, first)).json()["refresh_token"] == second
    assert await alive(world, client, second)


@ON_EVERY_ENGINE
async def test_41_the_grace_ends_when_the_successor_is_used(world: World) -> None:
    client, first = await start(world)
    second = (await world.refresh(client, first)).json()["refresh_token"]
    third = (await world.refresh(client, second)).json()["refresh_token"]
    assert not await alive(world, client, first)
    assert not await alive(world, client, third)


@ON_EVERY_ENGINE
async def test_41_the_grace_can_be_turned_off(make_world: Make) -> None:
    world = await make_world(refresh_grace=0)
    client, first = await start(world)
    second = (await world.refresh(client, first)).json()["refresh_token"]
    assert not await alive(world, client, first)
    assert not await alive(world, client, second)


@ON_EVERY_ENGINE
async def test_41_of_many_refreshes_at_once_on_two_replicas_all_get_one_successor(world: World) -> None:
    client, first = await start(world)
    apps = [world.app, await world.another_app()]
    form = {"grant_type": "refresh_token", "refresh_token": first}
    responses = await asyncio.gather(*(world.token(client, form, apps[n % 2]) for n in range(20)))
    assert len({response.json()["refresh_token"] for response in responses}) == 1


@ON_EVERY_ENGINE
async def test_41_without_grace_of_many_refreshes_at_once_exactly_one_succeeds(make_world: Make) -> None:
    world = await make_world(refresh_grace=0)
    client, first = await start(world)
    apps = [world.app, await world.another_app()]
    form = {"grant_type": "refresh_token", "refresh_token": first}
    responses = await asyncio.gather(*(world.token(client, form, apps[n % 2]) for n in range(20)))
    assert [response.status_code for response in responses].count(200) == 1
    assert len(issued(world)) == 2, "the code's token and one refreshed token"


@ON_EVERY_ENGINE
async def test_41_a_client_that_refreshes_all_day_leaves_no_rows_and_each_of_its_tokens_is_still_known(
    make_world: Make,
) -> None:
    world = await make_world()
    client, token = await start(world)
    other = (await world.tokens(client))["refresh_token"]
    assert await alive(world, client, other)
    used = [token]
    for _ in range(8):
        world.time += world.settings.refresh_grace + 1
        used.append((await world.refresh(client, used[-1])).json()["refresh_token"])
    assert await rows(world) == 4, "of each grant the one in use, and the one before it"
    thief = await world.client()
    assert not await alive(world, thief, used[2]), "whoever owns no token of the family can't end it"
    assert await alive(world, client, used.pop())
    assert not await alive(world, client, used[2])
    assert world.events.of(Kind.TOKEN_REUSED)[0].subject == "alice"
    assert all([not await alive(world, client, token) for token in used])


async def test_41_a_token_that_nobody_was_given_ends_nothing(world: World) -> None:
    client, token = await start(world)
    family, random, signature = token.split(".")
    for forged in (
        f"{family}.{seal.new_secret()}.{signature}",
        f"{family}.{random}.{seal.new_secret()}",
        f"{family}.{random}.",
        f"{seal.new_id()}.{random}.{signature}",
    ):
        assert not await alive(world, client, forged)
    assert not world.events.of(Kind.TOKEN_REUSED)
    assert await alive(world, client, token)


async def test_43_a_token_that_expired_unused_long_ago_is_no_reuse(make_world: Make) -> None:
    world = await make_world(refresh_idle_lifetime=100, refresh_absolute_lifetime=10 * KEPT)
    client, token = await start(world)
    world.time += 100 + KEPT + 1
    await purge(world.store, world.time)
    assert not await alive(world, client, token)
    assert not world.events.of(Kind.TOKEN_REUSED)


@ON_EVERY_ENGINE
async def test_42_another_client_can_not_refresh_nor_end_the_grant(world: World) -> None:
    client, token = await start(world)
    for thief in (await world.client(), await world.client(public=True)):
        assert (await world.refresh(thief, token)).json()["error"] == "invalid_grant"
    without_secret = NewClient(client.client_id, None, client.client)
    assert (await world.refresh(without_secret, token)).json()["error"] == "invalid_client"
    assert await alive(world, client, token)


async def test_42_a_refresh_serves_the_granted_resource_alone(make_world: Make) -> None:
    world = await make_world(resources={RESOURCE: SCOPES, "https://two.example": SCOPES})
    client, token = await start(world)
    assert (await world.refresh(client, token, resource="https://two.example")).json()["error"] == "invalid_target"
    body = (await world.refresh(client, token, resource=f"{RESOURCE}/")).json()
    assert world.read(body["access_token"]).audience == (RESOURCE,)


async def test_42_a_resource_that_the_server_no_longer_has_gets_no_more_tokens(make_world: Make) -> None:
    world = await make_world(resources={RESOURCE: SCOPES, "https://two.example": SCOPES})
    client, token = await start(world)
    code = world.redemption(client, await world.code(client))
    without = await world.another_app(resources={"https://two.example": SCOPES})
    for form in ({"grant_type": "refresh_token", "refresh_token": token}, code):
        assert (await world.token(client, form, without)).json()["error"] == "invalid_target"


async def test_42_scope_narrows_for_one_token_and_never_widens(world: World) -> None:
    client, token = await start(world)
    for wider in ("customer:read security:read", "admin:all"):
        assert (await world.refresh(client, token, scope=wider)).json()["error"] == "invalid_scope"
    narrow = (await world.refresh(client, token, scope="customer:read")).json()
    assert narrow["scope"] == "customer:read"
    assert (await world.refresh(client, narrow["refresh_token"])).json()["scope"] == "customer:read ticket:create"


@ON_EVERY_ENGINE
async def test_42_scope_that_the_user_has_lost_is_lost_and_what_they_gain_is_not_gained(world: World) -> None:
    client, token = await start(world)
    await admin.set_user_scope(world.store, "alice", "customer:read security:read", events=world.events)
    assert world.events.of(Kind.USER_CHANGED)[0].reason == "another scope"
    body = (await world.refresh(client, token)).json()
    assert body["scope"] == "customer:read"
    await admin.set_user_scope(world.store, "alice", "security:read")
    assert (await world.refresh(client, body["refresh_token"])).json()["error"] == "invalid_scope"


async def test_42_scope_that_was_not_granted_is_not_gained_though_client_and_user_have_it(world: World) -> None:
    await world.user()
    client = await world.client()
    token = (await world.tokens(client, scope="customer:read"))["refresh_token"]
    assert (await world.refresh(client, token)).json()["scope"] == "customer:read"


@ON_EVERY_ENGINE
async def test_43_an_unused_refresh_token_expires(make_world: Make) -> None:
    world = await make_world(refresh_idle_lifetime=100)
    client, token = await start(world)
    world.time += 99
    token = (await world.refresh(client, token)).json()["refresh_token"]
    world.time += 100
    assert not await alive(world, client, token)


@ON_EVERY_ENGINE
async def test_43_reuse_is_known_for_what_it_is_even_after_the_token_has_expired(make_world: Make) -> None:
    world = await make_world(refresh_idle_lifetime=100)
    client, first = await start(world)
    world.time += 50
    second = (await world.refresh(client, first)).json()["refresh_token"]
    world.time += 60
    assert not await alive(world, client, first)
    assert not await alive(world, client, second)


@ON_EVERY_ENGINE
async def test_43_a_grant_expires_however_often_it_is_refreshed(make_world: Make) -> None:
    world = await make_world(refresh_idle_lifetime=100, refresh_absolute_lifetime=150)
    client, token = await start(world)
    world.time += 90
    token = (await world.refresh(client, token)).json()["refresh_token"]
    world.time += 60
    assert not await alive(world, client, token)


async def test_43_only_clients_registered_for_it_get_a_refresh_token(world: World) -> None:
    await world.user()
    client = await world.client(grants=["authorization_code"])
    body = await world.tokens(client, scope="customer:read offline_access")
    assert "refresh_token" not in body
    assert body["scope"] == "customer:read"


async def test_43_offline_access_is_never_too_much_and_asks_for_nothing_else(world: World) -> None:
    await world.user()
    client = await world.client()
    body = await world.tokens(client, scope="offline_access")
    assert body["scope"] == "customer:read ticket:create"
    response = await world.refresh(client, body["refresh_token"], scope="customer:read offline_access")
    assert response.json()["scope"] == "customer:read"
    response = await world.token(client, {"grant_type": "client_credentials", "scope": "customer:read offline_access"})
    assert response.json()["scope"] == "customer:read"


@ON_EVERY_ENGINE
async def test_44_refresh_tokens_are_stored_hashed(world: World) -> None:
    client, first = await start(world)
    second = (await world.refresh(client, first)).json()["refresh_token"]
    disk = await everything_on_disk(world)
    assert first.encode() not in disk
    assert second.encode() not in disk


@ON_EVERY_ENGINE
async def test_44_signing_out_revokes(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        granted = await world.decide(browser, await world.consent_page(browser, client))
        code = granted.headers["location"].partition("code=")[2].partition("&")[0]
        token = (await world.token(client, world.redemption(client, code))).json()["refresh_token"]
        fields = Forms((await browser.get("/logout")).text).fields("/logout")
        session = browser.cookies["__Host-garrison"]
        assert (await browser.post("/logout", data=fields)).status_code == 303
        assert "You are signed out" in (await browser.get("/logout")).text
        browser.cookies.clear()
        browser.cookies.set("__Host-garrison", session)
        assert "You are signed out" in (await browser.get("/logout")).text
    assert not await alive(world, client, token)
    assert world.events.of(Kind.TOKEN_REVOKED)[0].reason == "sign-out"
    assert not world.events.of(Kind.TOKEN_REUSED)


@ON_EVERY_ENGINE
async def test_44_a_new_password_revokes_and_signs_out(world: World) -> None:
    client, token = await start(world)
    async with world.browser() as browser:
        await world.consent_page(browser, client)
        await admin.set_password(world.store, "alice", "another long password")
        response = await browser.get("/authorize", params=world.authorization(client))
        response = await browser.get(response.headers["location"])
        assert response.headers["location"].startswith("/login?")
    assert not await alive(world, client, token)


@ON_EVERY_ENGINE
async def test_44_disabling_or_removing_the_user_revokes_for_good(world: World) -> None:
    client, token = await start(world)
    await admin.disable_user(world.store, "alice")
    assert not await alive(world, client, token)
    await admin.disable_user(world.store, "alice", disabled=False)
    assert not await alive(world, client, token)
    await admin.remove_user(world.store, "alice")
    client, token = await start(world)
    await admin.remove_user(world.store, "alice")
    await world.user()
    assert not await alive(world, client, token)


@ON_EVERY_ENGINE
async def test_44_disabling_the_client_ends_its_grants_for_good(world: World) -> None:
    client, token = await start(world)
    await admin.disable_client(world.store, client.client_id, events=world.events, clock=world.now)
    assert (await world.refresh(client, token)).status_code == 401
    await admin.disable_client(world.store, client.client_id, disabled=False, events=world.events, clock=world.now)
    assert not await alive(world, client, token)
    assert [event.reason for event in world.events.of(Kind.CLIENT_CHANGED)] == ["disabled", "enabled"]


@ON_EVERY_ENGINE
async def test_44_the_operator_ends_one_grant_and_no_other(world: World) -> None:
    client, token = await start(world)
    other = (await world.tokens(client))["refresh_token"]
    newest, oldest = await list_grants(world.store, username="alice", clock=world.now)
    assert not await list_grants(world.store, client_id="client_other", clock=world.now)
    await revoke_grant(world.store, newest.id, events=world.events, clock=world.now)
    assert (await show_grant(world.store, newest.id)).revoked
    assert [grant.id for grant in await list_grants(world.store, clock=world.now)] == [oldest.id]
    assert {await alive(world, client, token), await alive(world, client, other)} == {True, False}
    with pytest.raises(UsageError, match="there is no grant"):
        await revoke_grant(world.store, "none")


@pytest.mark.parametrize("verb", [admin.disable_client, admin.remove_client, admin.rotate_client_secret])
@ON_EVERY_ENGINE
async def test_what_an_operator_does_is_recorded_first_and_not_done_if_it_can_not_be(
    world: World, verb: Callable[..., Awaitable[object]]
) -> None:
    client, token = await start(world)
    world.events.broken = True
    with pytest.raises(EventStoreError):
        await verb(world.store, client.client_id, events=world.events)
    world.events.broken = False
    assert await alive(world, client, token)


@ON_EVERY_ENGINE
async def test_44_a_disabled_user_has_no_session_code_or_refresh_token_however_they_came_to_be_disabled(
    world: World,
) -> None:
    client, token = await start(world)
    code = world.redemption(client, await world.code(client))
    async with world.browser() as browser:
        await world.consent_page(browser, client)
        async with world.store.write() as connection:
            await connection.execute(users.update().values(disabled=True))
        response = await browser.get("/authorize", params=world.authorization(client))
        response = await browser.get(response.headers["location"])
        assert response.headers["location"].startswith("/login?")
    assert (await world.token(client, code)).json()["error"] == "invalid_grant"
    assert not await alive(world, client, token)


@ON_EVERY_ENGINE
async def test_44_a_family_that_ends_while_its_token_is_being_used_stays_ended(world: World) -> None:
    client, value = await start(world)
    code_value = await world.code(client)
    code = await find_code(world.store, seal.hashed(code_value))
    token = await find_refresh_token(world.store, seal.hashed(value))
    assert code
    assert token
    for family in (code.family, token.family):
        assert await revoke_family(world.store, family.id, world.time)

    heir = Successor(key="k", salt="s", expires_at=world.time)
    assert not await consume_code(world.store, code, now=world.time, refresh=None)
    assert await rotate_refresh(world.store, token, heir, now=world.time, grace=9) is None
    assert (await world.token(client, world.redemption(client, code_value))).json()["error"] == "invalid_grant"
    assert not world.events.of(Kind.TOKEN_REUSED)


@ON_EVERY_ENGINE
async def test_45_a_client_revokes_its_own_grant(world: World) -> None:
    client, token = await start(world)
    async with world.browser() as http:
        auth = (client.client_id, client.client_secret or "")
        for _ in range(2):
            assert (await http.post("/revoke", data={"token": token}, auth=auth)).status_code == 200
    assert not await alive(world, client, token)
    assert len(world.events.of(Kind.TOKEN_REVOKED)) == 1


async def test_45_a_token_that_was_used_long_ago_ends_the_grant_too(world: World) -> None:
    """Its client may have lost the newer ones, to a thief even."""
    client, first = await start(world)
    token = first
    for _ in range(3):
        world.time += world.settings.refresh_grace + 1
        token = (await world.refresh(client, token)).json()["refresh_token"]
    async with world.browser() as http:
        auth = (client.client_id, client.client_secret or "")
        assert (await http.post("/introspect", data={"token": first}, auth=auth)).json() == {"active": False}
        assert (await http.post("/revoke", data={"token": first}, auth=auth)).status_code == 200
    assert not await alive(world, client, token)


@ON_EVERY_ENGINE
async def test_45_revocation_can_not_touch_others_tokens(world: World) -> None:
    client, token = await start(world)
    thief = await world.client()
    async with world.browser() as http:
        stolen = await http.post("/revoke", data={"token": token}, auth=(thief.client_id, thief.client_secret or ""))
        guessed = await http.post("/revoke", data={"token": token}, auth=(client.client_id, "wrong"))
        unproven = await http.post("/revoke", data={"token": token, "client_id": client.client_id})
        twice = await http.post(
            "/revoke", data={"token": [token, token]}, auth=(client.client_id, client.client_secret or "")
        )
    assert [r.status_code for r in (stolen, guessed, unproven, twice)] == [400, 401, 401, 400]
    assert await alive(world, client, token)


@ON_EVERY_ENGINE
async def test_45_a_revocation_happens_even_if_it_can_not_be_recorded_and_says_so(world: World) -> None:
    client, token = await start(world)
    world.events.broken = True
    async with world.browser() as http:
        auth = (client.client_id, client.client_secret or "")
        assert (await http.post("/revoke", data={"token": token}, auth=auth)).status_code == 503
    world.events.broken = False
    assert not await alive(world, client, token)


async def test_45_an_unknown_token_is_200_and_a_missing_one_an_error(world: World) -> None:
    client = await world.client()
    async with world.browser() as http:
        auth = (client.client_id, client.client_secret or "")
        assert (await http.post("/revoke", data={"token": "unknown"}, auth=auth)).status_code == 200
        assert (await http.post("/revoke", data={}, auth=auth)).json()["error"] == "invalid_request"


@ON_EVERY_ENGINE
async def test_a_refresh_that_can_not_be_recorded_does_not_happen_and_can_be_tried_again(make_world: Make) -> None:
    world = await make_world(refresh_grace=0)
    client, token = await start(world)
    world.events.broken = True
    assert (await world.refresh(client, token)).status_code == 503
    world.events.broken = False
    assert await alive(world, client, token)
