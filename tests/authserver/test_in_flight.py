"""A sign-in or a consent that was judged a moment ago counts for nothing if it no longer holds when it is saved."""

import asyncio

import pytest

from garrison.authserver import admin, admin_factors, seal
from garrison.authserver.records import Code, Family
from garrison.authserver.stores import passkeys, tables
from garrison.authserver.stores.codes import save_code
from garrison.authserver.stores.families import living_families
from garrison.authserver.stores.granted import take_back
from garrison.authserver.stores.sessions import Shown, count_sessions, end_other_sessions, end_session, save_session
from garrison.authserver.stores.totp import SealedTotp, save_totp
from garrison.authserver.stores.users import find_user
from garrison.base.events import Kind
from tests.authserver.authenticator import Authenticator, text
from tests.authserver.factor_world import add_passkey, answer, show_password
from tests.authserver.world import CHEAP, ON_EVERY_ENGINE, RESOURCE, World

READ = frozenset({"customer:read"})
ROUNDS = 4


async def session(world: World, shown: Shown | None = None) -> str | None:
    """The key of a new one, if it was begun."""
    key = seal.hashed(seal.new_secret())
    shown = shown or Shown(scope=(await admin.show_user(world.store, "alice")).scope)
    ends = world.time + 100
    saved = await save_session(world.store, key, username="alice", shown=shown, now=world.time, expires_at=ends)
    return key if saved else None


def code(world: World, client: admin.NewClient, session_key: str | None) -> Code:
    assert session_key
    family = Family(
        seal.new_id(), client.client_id, "alice", session_key, READ, RESOURCE, world.time, world.time + 1000, False
    )
    return Code(seal.new_id(), family, "https://app.example", True, "c" * 43, world.time + 60, False)


async def new_password(world: World, text: str = "another good password") -> None:
    await admin.set_password(world.store, "alice", text, cost=CHEAP, clock=world.now)


@ON_EVERY_ENGINE
async def test_44_a_code_is_saved_only_while_its_session_client_and_remembered_consent_are_there(world: World) -> None:
    await world.user()
    client = await world.client()
    assert await save_code(world.store, code(world, client, await session(world)))
    late = code(world, client, await session(world))
    await end_session(world.store, late.family.session, world.time)
    assert not await save_code(world.store, late)
    late = code(world, client, await session(world))
    await new_password(world)
    assert not await save_code(world.store, late, remember=True)
    late = code(world, client, await session(world))
    assert not await save_code(world.store, late, remembered=True)
    assert await save_code(world.store, late, remember=True)
    assert await save_code(world.store, code(world, client, late.family.session), remembered=True)
    await take_back(world.store, "alice", client.client_id, RESOURCE, now=world.time)
    assert not await save_code(world.store, code(world, client, late.family.session), remembered=True)
    await admin.disable_client(world.store, client.client_id, clock=world.now)
    assert not await save_code(world.store, code(world, client, late.family.session))
    assert not await living_families(world.store, world.time)


@ON_EVERY_ENGINE
async def test_44_a_session_begins_only_while_what_was_shown_for_it_still_does(world: World) -> None:
    await world.user()
    _, shown = await find_user(world.store, "alice") or (None, "")
    key = passkeys.Passkey("credential", "alice", "phone", b"key", 0, world.time)
    await passkeys.save_passkey(world.store, key)
    by_password, by_passkey = Shown(password_hash=shown, alone=True), Shown(credential_id="credential")
    by_provider = Shown(scope=frozenset({"customer:read", "ticket:create", "security:read"}))
    for way in (by_password, by_passkey, by_provider):
        assert await session(world, way)
    assert await save_totp(world.store, SealedTotp("alice", "sealed", 0, world.time), ["recovery"], "none")
    assert not await session(world, by_password)
    assert await session(world, Shown(password_hash=shown))
    await admin_factors.reset_factors(world.store, "alice", clock=world.now)
    assert not await session(world, by_passkey)
    assert await session(world, by_password)
    await new_password(world)
    assert not await session(world, by_password)
    await admin.set_user_scope(world.store, "alice", "customer:read")
    assert not await session(world, by_provider)
    await admin.disable_user(world.store, "alice", clock=world.now)
    assert not await session(world, Shown(scope=READ))


@ON_EVERY_ENGINE
async def test_44_what_is_granted_or_begun_while_a_password_changes_has_ended_with_it(world: World) -> None:
    await world.user()
    client = await world.client()
    for number in range(ROUNDS):
        _, before = await find_user(world.store, "alice") or (None, "")
        keys = [await session(world) for _ in range(4)]
        grants = [save_code(world.store, code(world, client, key), remember=True) for key in keys]
        begun = [session(world, Shown(password_hash=before)) for _ in range(4)]
        await asyncio.gather(
            *grants[:2], *begun[:2], new_password(world, f"password number {number}"), *grants[2:], *begun[2:]
        )
        assert await living_families(world.store, world.time) == []
        assert await count_sessions(world.store, "alice", world.time) == 0
        async with world.store.read() as connection:
            assert (await connection.execute(tables.consents.select())).all() == []


@ON_EVERY_ENGINE
async def test_44_what_is_granted_while_every_other_browser_is_signed_out_has_ended(world: World) -> None:
    await world.user()
    client = await world.client()
    for _ in range(ROUNDS):
        mine = await session(world) or ""
        others = [await session(world) for _ in range(4)]
        grants = [save_code(world.store, code(world, client, key)) for key in others]
        await asyncio.gather(*grants[:2], end_other_sessions(world.store, "alice", mine, world.time), *grants[2:])
        assert await living_families(world.store, world.time) == []


async def test_who_consents_while_being_signed_out_is_asked_to_sign_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        page = await world.consent_page(browser, client)
        given = world.events.write

        async def write(event: object) -> None:
            """The password changes at the last moment, when the event has been recorded."""
            await given(event)  # type: ignore[arg-type]
            if getattr(event, "kind", None) is Kind.CONSENT_GIVEN:
                await new_password(world)

        monkeypatch.setattr(world.events, "write", write)
        response = await world.decide(browser, page)
        assert response.headers["location"].startswith("/consent?request=")
        assert (await browser.get(response.headers["location"])).headers["location"].startswith("/login?")
    assert [event.subject for event in world.events.of(Kind.CONSENT_REFUSED)] == ["alice"]


async def test_who_signs_in_while_the_password_changes_is_not_signed_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.user()
    given = world.events.write

    async def write(event: object) -> None:
        await given(event)  # type: ignore[arg-type]
        if getattr(event, "kind", None) is Kind.LOGIN_SUCCEEDED:
            await new_password(world)

    monkeypatch.setattr(world.events, "write", write)
    async with world.browser() as browser:
        assert (await world.sign_in(browser, "/login")).status_code == 403
        assert (await browser.get("/account/grants")).headers["location"] == "/login"


async def test_44_who_signs_in_by_a_passkey_while_it_is_removed_is_not_signed_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.user()
    given, device = world.events.write, Authenticator()
    async with world.browser() as browser:
        await show_password(world, browser)
        await add_passkey(browser, device)

    async def write(event: object) -> None:
        await given(event)  # type: ignore[arg-type]
        if getattr(event, "kind", None) is Kind.LOGIN_SUCCEEDED:
            assert await passkeys.remove_passkey(world.store, "alice", text(device.credential_id))

    monkeypatch.setattr(world.events, "write", write)
    async with world.browser() as browser:
        assert (await answer(browser, device)).status_code == 403
        assert (await browser.get("/account/grants")).headers["location"] == "/login"
