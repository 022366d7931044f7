"""Passkeys: each check of WebAuthn Level 3 section 7 that a relying party makes, against an authenticator that lies."""

import json
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from garrison.authserver import admin, admin_factors, seal
from garrison.authserver.factors import add_passkey as adding
from garrison.authserver.factors import challenges
from garrison.authserver.stores.passkeys import Passkey, passkeys_of, save_passkey
from garrison.base.events import Kind
from tests.authserver.authenticator import PRESENT, VERIFIED, Authenticator, data, text
from tests.authserver.factor_world import (
    ACCOUNT,
    OVERVIEW,
    add_passkey,
    answer,
    confirm,
    options,
    passkey_page,
    set_up_app,
    show_password,
    sign_out,
    signed_in,
)
from tests.authserver.world import SQLITE, Forms, Make, World, query_of

pytestmark = SQLITE


@pytest.fixture
async def device(world: World) -> Authenticator:
    """It has alice's passkey."""
    await world.user()
    made = Authenticator()
    async with world.browser() as browser:
        await show_password(world, browser)
        added = await add_passkey(browser, made)
        assert added.headers["location"] == f"{OVERVIEW}?done=passkey-added", added.text
    return made


async def refused(world: World, device: Authenticator, **changes: str) -> bool:
    """Whether a sign-in with `device`, from a browser of its own, is refused."""
    async with world.browser() as browser:
        response = await answer(browser, device, **changes)
        assert response.status_code in {303, 403}
        assert (response.status_code == 303) == await signed_in(browser)
        return response.status_code == 403


async def test_a_passkey_signs_in_without_password_or_code_to_the_request_that_waits(
    world: World, device: Authenticator
) -> None:
    client = await world.client()
    async with world.browser() as browser:
        await show_password(world, browser)
        await set_up_app(world, browser)
    async with world.browser() as browser:
        response = await browser.get("/authorize", params=world.authorization(client))
        login = (await browser.get(response.headers["location"])).headers["location"]
        passkey = login.replace("/login", "/passkey")
        assert f'href="{passkey}"' in (await browser.get(login)).text
        page = await browser.get(passkey)
        assert page.headers["content-security-policy"].endswith("form-action 'self' https://app.example")
        answered = await answer(browser, device, passkey)
        page = await browser.get(answered.headers["location"])
        assert "code" in query_of(await world.decide(browser, page))
        assert (await browser.get("/passkey")).headers["location"] == ACCOUNT
        assert "last used" in (await browser.get(OVERVIEW)).text
    assert world.events.of(Kind.LOGIN_SUCCEEDED)[-1].detail["by"] == "passkey"


async def test_the_authenticator_is_asked_for_a_verified_user_and_told_the_issuers_host_whatever_a_header_says(
    world: World, device: Authenticator
) -> None:
    async with world.browser() as browser:
        headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "origin": "https://evil.example"}
        asked = options(await browser.get("/passkey", headers=headers))
        await show_password(world, browser)
        made = options(await passkey_page(browser))
    assert (asked["rpId"], asked["userVerification"], asked["allowCredentials"]) == ("auth.example", "required", [])
    assert made["rp"]["id"] == "auth.example"
    wanted = made["authenticatorSelection"]
    assert (wanted["userVerification"], wanted["residentKey"]) == ("required", "required")
    assert made["attestation"] == "none"
    assert [each["id"] for each in made["excludeCredentials"]] == [text(device.credential_id)]
    assert b"alice" not in data(made["user"]["id"])
    assert len(data(asked["challenge"])) == len(data(made["challenge"])) == 32


WRONG: dict[str, dict[str, Any]] = {
    "the user was not verified": {"flags": PRESENT},
    "the user was not there": {"flags": VERIFIED},
    "another origin": {"origin": "https://evil.example"},
    "another origin below ours": {"origin": "https://a.auth.example"},
    "our origin in plain HTTP": {"origin": "http://auth.example"},
    "another relying party": {"rp_id": "evil.example"},
}


async def test_an_answer_that_is_wrong_signs_nobody_in_and_adds_nothing(world: World, device: Authenticator) -> None:
    for why, wrong in WRONG.items():
        right = {name: getattr(device, name) for name in wrong}
        vars(device).update(wrong)
        assert await refused(world, device), why
        vars(device).update(right)
        async with world.browser() as browser:
            await show_password(world, browser)
            assert (await add_passkey(browser, Authenticator(**wrong))).status_code == 403, why
    assert len(await passkeys_of(world.store, "alice")) == 1
    assert not await refused(world, device)


async def test_another_key_or_user_handle_or_an_unknown_passkey_is_refused(world: World, device: Authenticator) -> None:
    id_of, key, handle = device.credential_id, device.key, device.user_handle
    for wrong in (
        Authenticator(credential_id=id_of, user_handle=handle),
        Authenticator(credential_id=id_of, key=key, user_handle=b"x" * 32),
        Authenticator(credential_id=id_of, key=key, user_handle=b""),
        Authenticator(key=key, user_handle=handle),
    ):
        assert await refused(world, wrong)
    assert not await refused(world, device)


async def test_a_counter_that_does_not_move_on_is_refused_as_a_copys_unless_there_is_none(
    world: World, device: Authenticator
) -> None:
    for _ in range(3):
        assert not await refused(world, device)
    copy = Authenticator(
        key=device.key, credential_id=device.credential_id, user_handle=device.user_handle, count=device.count - 1
    )
    assert await refused(world, copy), "the same count"
    copy.count -= 2
    assert await refused(world, copy), "a lower count"
    async with world.browser() as browser:
        await show_password(world, browser)
        without = Authenticator(step=0)
        await add_passkey(browser, without)
    for _ in range(2):
        assert not await refused(world, without)


async def test_a_challenge_is_answered_once_by_the_browser_that_got_it_for_its_purpose_in_time(
    world: World, device: Authenticator
) -> None:
    async with world.browser() as browser, world.browser() as other:
        page = await browser.get("/passkey")
        fields = {**Forms(page.text).fields("/passkey"), "credential": device.get(options(page))}
        stolen = Forms((await other.get("/passkey")).text).fields("/passkey")
        replayed = {**fields, "csrf": stolen["csrf"]}
        assert (await other.post("/passkey", data=replayed)).status_code == 403, "another browser's"
        assert (await other.post("/passkey", data=fields)).status_code == 400, "another browser's form"
        assert (await browser.post("/passkey", data=fields)).status_code == 303
        await sign_out(browser)
        page = await browser.get("/passkey")
        again = {**Forms(page.text).fields("/passkey"), "challenge": fields["challenge"]}
        assert (await browser.post("/passkey", data={**fields, **again})).status_code == 403, "answered before"
        page = await browser.get("/passkey")
        late = {**Forms(page.text).fields("/passkey"), "credential": device.get(options(page))}
        world.time += challenges.LIFETIME
        assert (await browser.post("/passkey", data=late)).status_code == 403, "too late"
        for challenge in ("", "e30.x"):
            assert (await answer(browser, device, challenge=challenge)).status_code == 403
        await show_password(world, browser)
        page = await passkey_page(browser)
        registration = {
            "challenge": Forms(page.text).fields("/account/passkey")["challenge"],
            "credential": device.get(options(page)),
            "csrf": seal.mac(world.settings.secret, "form", browser.cookies["__Host-garrison"], "passkey", ""),
        }
        assert (await browser.post("/passkey", data=registration)).status_code == 403, "for another purpose"
        await sign_out(browser)
        assert not await signed_in(browser)


async def test_an_answer_to_another_challenge_is_refused(world: World, device: Authenticator) -> None:
    async with world.browser() as browser:
        stale = device.get(options(await browser.get("/passkey")))
        assert (await answer(browser, device, credential=stale)).status_code == 403
        await show_password(world, browser)
        new = Authenticator()
        stale = new.create(options(await passkey_page(browser)))
        assert (await add_passkey(browser, new, credential=stale)).status_code == 403
    assert [event.reason for event in world.events.of(Kind.LOGIN_FAILED)] == ["passkey", "new passkey"]
    assert len(await passkeys_of(world.store, "alice")) == 1


async def test_a_wrong_answer_uses_the_challenge_up(world: World, device: Authenticator) -> None:
    async with world.browser() as browser:
        page = await browser.get("/passkey")
        fields = Forms(page.text).fields("/passkey")
        device.flags = PRESENT
        wrong = device.get(options(page))
        device.flags |= VERIFIED
        assert (await browser.post("/passkey", data={**fields, "credential": wrong})).status_code == 403
        right = device.get(options(page))
        assert (await browser.post("/passkey", data={**fields, "credential": right})).status_code == 403


async def test_what_is_no_credential_is_refused_like_any_other(world: World, device: Authenticator) -> None:
    good = {"id": text(device.credential_id), "rawId": text(device.credential_id), "type": "public-key"}
    for credential in (
        "",
        "[]",
        "{",
        "[" * 5000,
        json.dumps({"id": 1}),
        json.dumps(good),
        json.dumps({**good, "response": {}}),
        json.dumps({**good, "response": dict.fromkeys(["clientDataJSON", "authenticatorData", "signature"], "!")}),
        json.dumps({**good, "response": dict.fromkeys(["clientDataJSON", "authenticatorData", "signature"], "")}),
    ):
        assert await refused(world, device, credential=credential)
        world.time += 3600
        async with world.browser() as browser:
            await show_password(world, browser)
            assert (await add_passkey(browser, device, credential=credential)).status_code == 403


async def test_a_disabled_user_and_a_removed_passkey_sign_in_no_more(world: World, device: Authenticator) -> None:
    await admin.disable_user(world.store, "alice", clock=world.now)
    before = len(world.events.of(Kind.LOGIN_SUCCEEDED))
    assert await refused(world, device)
    assert len(world.events.of(Kind.LOGIN_SUCCEEDED)) == before
    await admin.disable_user(world.store, "alice", disabled=False, clock=world.now)
    async with world.browser() as browser:
        await answer(browser, device)
        target = text(device.credential_id)
        assert (await confirm(browser, "remove-passkey", "wrong password", target)).status_code == 403
        assert (await confirm(browser, "remove-passkey", target=target)).status_code == 303
    assert await refused(world, device)
    assert [event.reason for event in world.events.of(Kind.USER_CHANGED)] == [
        "a passkey was added",
        "a passkey was removed",
    ]


async def test_nobody_removes_or_takes_over_anothers_passkey(world: World, device: Authenticator) -> None:
    await world.user("bob")
    async with world.browser() as browser:
        await show_password(world, browser, "bob")
        await confirm(browser, "remove-passkey", target=text(device.credential_id))
        handle = device.user_handle
        assert (await add_passkey(browser, device)).status_code == 403, "it is known already"
        device.user_handle = handle
    async with world.browser() as browser:
        await answer(browser, device)
        assert "<strong>alice</strong>" in (await browser.get(ACCOUNT)).text


async def test_20_the_forms_of_passkeys_need_their_tokens(world: World, device: Authenticator) -> None:
    async with world.browser() as browser:
        assert (await answer(browser, device, csrf="x" * 43)).status_code == 400
        assert (await answer(browser, device, request="x")).status_code == 400
        await show_password(world, browser)
        assert (await add_passkey(browser, Authenticator(), csrf="x" * 43)).status_code == 400
    assert len(await passkeys_of(world.store, "alice")) == 1


async def test_25_wrong_passkeys_are_slowed_down_by_address(world: World, device: Authenticator) -> None:
    async with world.browser() as browser:
        for _ in range(world.settings.free_failures_per_address + 1):
            assert (await answer(browser, Authenticator())).status_code == 403
        assert (await answer(browser, device)).status_code == 429
    async with world.browser(address="203.0.113.8") as elsewhere:
        for _ in range(world.settings.free_failures_per_address + 2):
            elsewhere.cookies.clear()
            assert (await answer(elsewhere, device)).status_code == 303


async def test_a_user_has_a_bounded_number_of_passkeys_each_with_a_name_that_is_one_line(
    world: World, device: Authenticator
) -> None:
    async with world.browser() as browser:
        await show_password(world, browser)
        await add_passkey(browser, Authenticator(), name="<b>\u202e" + "x" * 100)
        page = (await browser.get(OVERVIEW)).text
        assert "&lt;b&gt;\N{REPLACEMENT CHARACTER}xxx" in page
        assert "x" * 61 not in page
        for n in range(adding.MOST - 2):
            await save_passkey(world.store, Passkey(f"id{n}", "alice", "", b"", 0, 0))
        assert (await add_passkey(browser, Authenticator())).status_code == 403
    assert (await admin_factors.show_factors(world.store, "alice")).passkeys == adding.MOST


async def test_a_passkey_that_can_not_be_recorded_is_neither_added_nor_used(
    world: World, device: Authenticator
) -> None:
    async with world.browser() as browser, world.browser() as adds:
        await show_password(world, adds)
        page = await passkey_page(adds)
        fields = {**Forms(page.text).fields("/account/passkey"), "credential": Authenticator().create(options(page))}
        world.events.broken = True
        assert (await adds.post("/account/passkey", data=fields)).status_code == 503
        assert (await answer(browser, device)).status_code == 503
        assert not await signed_in(browser)
    assert len(await passkeys_of(world.store, "alice")) == 1


@pytest.mark.parametrize(
    ("issuer", "origin"),
    [
        ("https://auth.example:8443/tenant", "https://auth.example:8443"),
        ("https://auth.example:443", "https://auth.example"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
async def test_the_origin_is_the_issuers_as_a_browser_writes_it(make_world: Make, issuer: str, origin: str) -> None:
    world = await make_world(issuer=issuer)
    await world.user()
    path, host = world.settings.path, urlsplit(origin).hostname or ""
    device = Authenticator(origin=origin, rp_id=host)
    async with world.browser() as browser:
        fields = Forms((await browser.get(f"{path}/login")).text).fields("/login")
        await browser.post(f"{path}/login", data={**fields, "username": "alice", "password": "correct horse battery"})
        page = await browser.get(f"{path}/account/confirm", params={"do": "add-passkey"})
        fields = {**Forms(page.text).fields("/account/confirm"), "proof": "correct horse battery"}
        page = await browser.get(str((await browser.post(f"{path}/account/confirm", data=fields)).headers["location"]))
        fields = {**Forms(page.text).fields("/account/passkey"), "credential": device.create(options(page))}
        assert (await browser.post(f"{path}/account/passkey", data=fields)).status_code == 303
    assert len(await passkeys_of(world.store, "alice")) == 1


async def test_where_the_issuer_is_an_address_there_are_no_passkeys(make_world: Make) -> None:
    world = await make_world(issuer="http://127.0.0.1:8080")
    await world.user()
    async with world.browser() as browser:
        assert "/passkey" not in (await browser.get("/login")).text
        await show_password(world, browser)
        assert "passkey" not in (await browser.get(OVERVIEW)).text
        for path in ("/passkey", "/account/passkey"):
            assert (await browser.get(path)).status_code == 404


async def test_the_page_says_what_to_do_without_script(world: World) -> None:
    async with world.browser() as browser:
        page: httpx2.Response = await browser.get("/passkey")
        assert "<noscript>" in page.text
        assert 'href="/login"' in page.text
        assert "<script" not in (await browser.get("/login")).text
