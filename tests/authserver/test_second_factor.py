"""Codes by an app and recovery codes: no session without them where they are set up. Statements 20, 21, 25, 26, 50."""

import asyncio
import re
from pathlib import Path

import httpx2
import pytest

from garrison.authserver import admin, admin_factors, at_rest
from garrison.authserver.factors import pending, permits
from garrison.authserver.stores.totp import find_totp
from garrison.base.errors import UsageError
from garrison.base.events import Kind
from garrison.oauth import totp
from tests.authserver.factor_world import (
    ACCOUNT,
    OVERVIEW,
    app_page,
    code,
    confirm,
    passkey_page,
    set_up_app,
    show_password,
    shown_recovery_codes,
    shown_secret,
    sign_out,
    signed_in,
    type_code,
)
from tests.authserver.world import CHEAP, PASSWORD, SQLITE, Forms, World, query_of

pytestmark = SQLITE
COOKIE = "__Host-garrison-factor"


@pytest.fixture
async def secret(world: World) -> bytes:
    """Alice's, who has set up an app."""
    await world.user()
    async with world.browser() as browser:
        await show_password(world, browser)
        made, _ = await set_up_app(world, browser)
    return made


async def test_a_session_exists_only_after_the_second_factor(world: World, secret: bytes) -> None:
    client = await world.client()
    async with world.browser() as browser:
        response = await browser.get("/authorize", params=world.authorization(client))
        waiting = (await browser.get(response.headers["location"])).headers["location"]
        asked = await world.sign_in(browser, waiting)
        assert asked.headers["location"].startswith("/factor?request=")
        assert not await signed_in(browser)
        assert (await browser.get(response.headers["location"])).headers["location"].startswith("/login?")
        assert not world.events.of(Kind.LOGIN_SUCCEEDED)[1:]
        answered = await type_code(browser, code(world, secret), asked.headers["location"])
        assert answered.headers["location"].startswith("/consent?")
        page = await browser.get(answered.headers["location"])
        assert "code" in query_of(await world.decide(browser, page))
    assert world.events.of(Kind.LOGIN_SUCCEEDED)[1].detail["by"] == "password and code"


async def test_a_code_is_good_once_and_so_is_the_one_that_set_the_app_up(world: World, secret: bytes) -> None:
    world.time -= totp.STEP
    async with world.browser() as first, world.browser() as second:
        for browser in (first, second):
            await show_password(world, browser)
        assert (await type_code(first, code(world, secret))).status_code == 403, "it set the app up"
        assert (await type_code(first, code(world, secret, 1))).status_code == 303
        assert (await type_code(second, code(world, secret, 1))).status_code == 403
        assert (await type_code(second, code(world, secret))).status_code == 403
        assert not await signed_in(second)
        world.time += totp.STEP
        assert (
            await type_code(second, f" {code(world, secret, 1)[:3]} {code(world, secret, 1)[3:]}")
        ).status_code == 303


async def test_a_code_may_come_a_step_early_or_late(world: World, secret: bytes) -> None:
    async with world.browser() as browser:
        await show_password(world, browser)
        for steps in (-2, 2, 1):
            world.time += 3 * totp.STEP
            assert (await type_code(browser, code(world, secret, steps))).status_code == (303 if steps == 1 else 403)
        world.time += 3 * totp.STEP
        browser.cookies.clear()
        await show_password(world, browser)
        assert (await type_code(browser, code(world, secret, -1))).status_code == 303


async def test_25_wrong_codes_are_slowed_down_and_the_password_does_not_clear_their_count(
    world: World, secret: bytes
) -> None:
    async with world.browser() as browser:
        for _ in range(6):
            await show_password(world, browser)
            assert (await type_code(browser, "000000")).status_code == 403
        await show_password(world, browser)
        blocked = await type_code(browser, code(world, secret))
        assert (blocked.status_code, blocked.headers["retry-after"]) == (429, "2")
        world.time += 2
        assert (await type_code(browser, code(world, secret))).status_code == 303
    assert [event.reason for event in world.events.of(Kind.LOGIN_FAILED)] == ["wrong code"] * 6 + ["back-off of codes"]


async def test_25_fifty_codes_at_once_are_not_fifty_guesses(world: World, secret: bytes) -> None:
    async with world.browser() as browser:
        await show_password(world, browser)
        fields = Forms((await browser.get("/factor")).text).fields("/factor")
        guesses = [browser.post("/factor", data={**fields, "code": f"{n:06}"}) for n in range(50)]
        statuses = [response.status_code for response in await asyncio.gather(*guesses)]
    assert statuses.count(429) == 44


async def test_a_recovery_code_signs_in_once_however_it_is_typed(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        await show_password(world, browser)
        _, recovery = await set_up_app(world, browser)
    assert len(set(recovery)) == 10
    async with world.browser() as browser:
        for typed, status in ((recovery[0].upper().replace("-", " "), 303), (recovery[0], 403), (recovery[1], 303)):
            browser.cookies.clear()
            await show_password(world, browser)
            assert (await type_code(browser, typed)).status_code == status
        assert "<dd>8</dd>" in (await browser.get(OVERVIEW)).text
    assert world.events.of(Kind.LOGIN_SUCCEEDED)[-1].detail["by"] == "password and recovery code"


async def test_nobody_signs_in_with_anothers_codes(world: World, secret: bytes) -> None:
    await world.user("bob")
    async with world.browser() as browser:
        await show_password(world, browser, "bob")
        _, recovery = await set_up_app(world, browser)
    async with world.browser() as browser:
        await show_password(world, browser, "bob")
        assert (await type_code(browser, code(world, secret))).status_code == 403
        browser.cookies.clear()
        await show_password(world, browser)
        assert (await type_code(browser, recovery[0])).status_code == 403


async def test_what_is_between_password_and_code_is_this_browsers_alone(world: World, secret: bytes) -> None:
    async with world.browser() as browser, world.browser() as thief:
        await show_password(world, browser)
        assert (await browser.get("/factor")).status_code == 200
        thief.cookies.set(COOKIE, browser.cookies[COOKIE])
        await thief.get("/login")
        for response in (await thief.get("/factor"), await thief.post("/factor", data={"code": code(world, secret)})):
            assert (response.status_code, response.headers["location"]) == (303, "/login")


async def test_what_is_between_password_and_code_ends(world: World, secret: bytes) -> None:
    async def too_late() -> None:
        world.time += pending.LIFETIME

    async def tampered() -> None:
        note = browser.cookies[COOKIE]
        browser.cookies.set(COOKIE, note[:-1] + ("A" if note[-1] != "A" else "B"), domain="auth.example", path="/")

    async def used() -> None:
        await type_code(browser, code(world, secret))
        assert COOKIE not in browser.cookies

    async def disabled() -> None:
        await admin.disable_user(world.store, "alice", clock=world.now)

    async def changed() -> None:
        await admin.disable_user(world.store, "alice", disabled=False, clock=world.now)
        await show_password(world, browser)
        await admin.set_password(world.store, "alice", cost=CHEAP, clock=world.now)

    for why in (too_late, tampered, used, disabled, changed):
        async with world.browser() as browser:
            if why is not changed:
                await show_password(world, browser)
            await why()
            assert (await browser.get("/factor")).headers["location"] == "/login", why.__name__


async def test_20_the_form_for_a_code_needs_its_token_and_the_session_id_is_new(world: World, secret: bytes) -> None:
    async with world.browser() as browser:
        await show_password(world, browser)
        before = browser.cookies["__Host-garrison"]
        for wrong in ({"csrf": "x" * 43}, {"csrf": ""}, {"request": "x"}):
            fields = {**Forms((await browser.get("/factor")).text).fields("/factor"), **wrong}
            assert (await browser.post("/factor", data={**fields, "code": code(world, secret)})).status_code == 400
        assert (await type_code(browser, code(world, secret))).status_code == 303
        assert browser.cookies["__Host-garrison"] != before


async def test_26_the_note_between_password_and_code_is_host_bound_secure_http_only_lax_and_short(
    world: World, secret: bytes
) -> None:
    async with world.browser() as browser:
        response = await show_password(world, browser)
    header = next(value for value in response.headers.get_list("set-cookie") if value.startswith(f"{COOKIE}="))
    attributes = {part.strip().lower() for part in header.split(";")[1:]}
    assert attributes == {"secure", "httponly", "samesite=lax", "path=/", "max-age=300"}
    assert "alice" not in response.headers["location"]


async def test_an_app_is_set_up_by_its_first_right_code_alone(world: World) -> None:
    for username in ("alice", "bob"):
        await world.user(username)
    async with world.browser() as browser, world.browser() as elsewhere, world.browser() as another:
        for each in (browser, elsewhere):
            await show_password(world, each)
        await show_password(world, another, "bob")
        page = await app_page(browser)
        fields, secret = Forms(page.text).fields("/account/app"), shown_secret(page)
        wrong = await browser.post("/account/app", data={**fields, "code": "000000"})
        assert wrong.status_code == 403
        assert shown_secret(wrong) == secret
        assert await find_totp(world.store, "alice") is None
        done = await browser.post("/account/app", data={**fields, "code": code(world, secret)})
        assert len(shown_recovery_codes(done)) == 10
        assert await signed_in(browser)
        assert not await signed_in(elsewhere), "it was begun without a code"
        assert await signed_in(another)
        again = await browser.post("/account/app", data={**fields, "code": code(world, secret)})
        assert again.status_code == 400
        assert await admin_factors.show_factors(world.store, "alice") == admin_factors.Factors(True, 10, 0)


async def test_the_qr_code_is_in_the_page_and_says_what_the_text_says(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        await show_password(world, browser)
        page = await app_page(browser)
    assert re.search(r'role="img" aria-label="[^"]+"><svg [^>]*viewBox', page.text)
    assert "style=" not in page.text, "the policy would refuse it"
    assert f"secret={totp.text(shown_secret(page))}" in page.text


async def test_nothing_is_added_without_confirming_it_in_this_session_for_this_purpose(world: World) -> None:
    await world.user()
    pages = {"add-app": "/account/app", "add-passkey": "/account/passkey"}
    async with world.browser() as browser, world.browser() as elsewhere:
        for path in pages.values():
            assert (await browser.get(path)).headers["location"] == "/login"
        for each in (browser, elsewhere):
            await show_password(world, each)
        good = {change: query_of(await confirm(browser, change)) for change in pages}
        for change, path in pages.items():
            other = good["add-passkey" if change == "add-app" else "add-app"]
            for wrong in ({}, {"permit": "e30.x"}, other, query_of(await confirm(elsewhere, change))):
                assert (await browser.get(path, params=wrong)).status_code == 400
            assert (await browser.get(path, params=good[change])).status_code == 200
        world.time += permits.LIFETIME
        for change, path in pages.items():
            assert (await browser.get(path, params=good[change])).status_code == 400, "too old"


async def test_a_secret_that_the_page_did_not_make_for_this_user_is_not_kept(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        await show_password(world, browser)
        fields = Forms((await app_page(browser)).text).fields("/account/app")
        mine = totp.new_secret()
        known = at_rest.encrypted(world.settings.secret, at_rest.TOTP_SECRETS, "bob", mine)
        data = {**fields, "secret": known, "code": code(world, mine)}
        assert (await browser.post("/account/app", data=data)).status_code == 400
    assert await find_totp(world.store, "alice") is None


async def test_the_app_is_removed_by_the_password_or_a_code_and_nothing_else(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        await show_password(world, browser)
        for proof in ("the password", "a code", "a recovery code"):
            secret, recovery = await set_up_app(world, browser)
            right = {"the password": PASSWORD, "a code": code(world, secret), "a recovery code": recovery[0]}[proof]
            for wrong in ("", "wrong password", "000000"):
                assert (await confirm(browser, "remove-app", wrong)).status_code == 403
            assert await find_totp(world.store, "alice")
            assert (await confirm(browser, "remove-app", right)).headers["location"] == f"{OVERVIEW}?done=app-removed"
            assert await find_totp(world.store, "alice") is None
            assert await admin_factors.show_factors(world.store, "alice") == admin_factors.Factors()
        await sign_out(browser)
        assert (await show_password(world, browser)).headers["location"] == ACCOUNT


async def test_25_confirming_is_slowed_down_too(world: World, secret: bytes) -> None:
    async with world.browser() as browser:
        await show_password(world, browser)
        await type_code(browser, code(world, secret))
        world.time += totp.STEP
        for _ in range(6):
            assert (await confirm(browser, "remove-app", "wrong password")).status_code == 403
        assert (await confirm(browser, "remove-app")).status_code == 429
        assert (await confirm(browser, "remove-app", code(world, secret))).status_code == 429
    reasons = [event.reason for event in world.events.of(Kind.LOGIN_FAILED)]
    assert reasons == ["wrong confirmation"] * 6 + ["back-off of confirmations"] * 2
    assert await find_totp(world.store, "alice")


async def test_20_confirming_needs_the_form_of_this_change_and_target(world: World, secret: bytes) -> None:
    async with world.browser() as browser:
        await show_password(world, browser)
        await type_code(browser, code(world, secret))
        page = await browser.get("/account/confirm", params={"do": "recovery-codes"})
        fields = {**Forms(page.text).fields("/account/confirm"), "proof": PASSWORD}
        for wrong in ({"csrf": "x" * 43}, {"do": "remove-app"}, {"target": "x"}, {"do": "nothing"}):
            assert (await browser.post("/account/confirm", data={**fields, **wrong})).status_code == 400
        assert (await browser.get("/account/confirm", params={"do": "nothing"})).status_code == 400
    assert await find_totp(world.store, "alice")


async def test_new_recovery_codes_end_the_old_ones(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        await show_password(world, browser)
        assert (await confirm(browser, "recovery-codes")).status_code == 400, "there is no app"
        _, old = await set_up_app(world, browser)
        new = shown_recovery_codes(await confirm(browser, "recovery-codes"))
        assert not set(old) & set(new)
        for typed, status in ((old[0], 403), (new[0], 303)):
            browser.cookies.clear()
            await show_password(world, browser)
            assert (await type_code(browser, typed)).status_code == status


async def test_50_neither_the_database_nor_the_events_tell_a_secret_or_a_code(world: World, tmp_path: Path) -> None:
    await world.user()
    async with world.browser() as browser:
        await show_password(world, browser)
        secret, recovery = await set_up_app(world, browser)
        browser.cookies.clear()
        await show_password(world, browser)
        typed = code(world, secret)
        await type_code(browser, typed)
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("auth.db*")) + repr(world.events.events).encode()
    for told in (secret, totp.text(secret).encode(), typed.encode()):
        assert told not in kept
    for each in recovery:
        assert each.encode() not in kept
        assert each.replace("-", "").encode() not in kept


async def test_a_sealed_secret_opens_for_its_user_and_purpose_and_with_the_servers_secret_alone(
    world: World, secret: bytes
) -> None:
    found, key = await find_totp(world.store, "alice"), world.settings.secret
    assert found
    assert at_rest.decrypted(key, at_rest.TOTP_SECRETS, "alice", found.sealed) == secret
    for wrong in (
        (key, at_rest.TOTP_SECRETS, "bob"),
        (key, at_rest.SIGNING_KEYS, "alice"),
        (b"x" * 32, at_rest.TOTP_SECRETS, "alice"),
    ):
        with pytest.raises(ValueError, match="sealed"):
            at_rest.decrypted(*wrong, found.sealed)


async def test_what_can_not_be_recorded_does_not_happen(world: World, secret: bytes) -> None:
    async with world.browser() as browser, world.browser() as other:
        await show_password(world, browser)
        await type_code(browser, code(world, secret))
        world.time += totp.STEP
        await show_password(world, other)
        world.events.broken = True
        assert (await confirm(browser, "remove-app")).status_code == 503
        assert (await type_code(other, code(world, secret))).status_code == 503
        world.events.broken = False
        assert not await signed_in(other)
    assert await find_totp(world.store, "alice")


async def test_an_app_that_can_not_be_recorded_is_not_set_up(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        await show_password(world, browser)
        page = await app_page(browser)
        fields = {**Forms(page.text).fields("/account/app"), "code": code(world, shown_secret(page))}
        world.events.broken = True
        assert (await browser.post("/account/app", data=fields)).status_code == 503
        assert await find_totp(world.store, "alice") is None
        world.events.broken = False
        assert (await browser.post("/account/app", data=fields)).status_code == 200


async def test_an_operator_sees_and_resets_a_users_factors(world: World, secret: bytes) -> None:
    await world.user("bob")
    none, alices = admin_factors.Factors(), admin_factors.Factors(totp=True, recovery_codes=10)
    assert await admin_factors.list_factors(world.store) == {"alice": alices, "bob": none}
    async with world.browser() as browser:
        await show_password(world, browser)
        await type_code(browser, code(world, secret))
        await admin_factors.reset_factors(world.store, "alice", events=world.events, clock=world.now)
        assert not await signed_in(browser)
        assert (await show_password(world, browser)).headers["location"] == ACCOUNT
    assert await admin_factors.show_factors(world.store, "alice") == none
    event = world.events.of(Kind.USER_CHANGED)[-1]
    assert (event.subject, event.reason) == ("alice", "factors were reset")
    for verb in (admin_factors.show_factors, admin_factors.reset_factors):
        with pytest.raises(UsageError):
            await verb(world.store, "nobody")


async def test_a_user_signs_every_other_browser_out(world: World) -> None:
    await world.user()
    client = await world.client()
    body = await world.tokens(client)
    await world.user("bob")
    async with world.browser() as browser, world.browser() as elsewhere, world.browser() as another:
        for each in (browser, elsewhere):
            await show_password(world, each)
        await show_password(world, another, "bob")
        page = await browser.get(OVERVIEW)
        assert "and 2 other browsers" in page.text
        fields = Forms(page.text).fields(OVERVIEW)
        assert (await browser.post(OVERVIEW, data={"csrf": "x" * 43})).status_code == 400
        assert (await elsewhere.post(OVERVIEW, data=fields)).status_code == 400
        done = await browser.post(OVERVIEW, data=fields)
        assert "other browser" not in (await browser.get(done.headers["location"])).text.partition("<section")[2]
        assert await signed_in(browser)
        assert not await signed_in(elsewhere)
        assert await signed_in(another)
    assert (await world.refresh(client, body["refresh_token"])).status_code == 400


async def test_21_every_page_of_an_account_is_unframed_and_unstored_and_two_alone_load_one_file_of_script(
    world: World,
) -> None:
    await world.user()
    async with world.browser() as browser:
        await show_password(world, browser)
        pages = [
            await browser.get(OVERVIEW),
            await browser.get("/account/confirm", params={"do": "add-app"}),
            await app_page(browser),
        ]
        scripted = [await passkey_page(browser)]
        await set_up_app(world, browser)
        pages.append(await confirm(browser, "recovery-codes"))
        browser.cookies.clear()
        scripted.append(await browser.get("/passkey"))
        await show_password(world, browser)
        pages.append(await browser.get("/factor"))
        script = await browser.get(_only_script(scripted[0]))
    assert script.headers["content-type"].startswith("text/javascript")
    assert "navigator.credentials" in script.text
    for page in pages:
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
    for page in scripted:
        assert "; script-src 'self';" in page.headers["content-security-policy"]
        assert _only_script(page).startswith("/passkey.js?")
    for page in (*pages, *scripted):
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; ")
        assert page.headers["content-security-policy"].endswith("frame-ancestors 'none'; form-action 'self'")
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert not re.search(r"\son[a-z]+=|javascript:", page.text)


def _only_script(page: httpx2.Response) -> str:
    (tag,) = re.findall(r"<script[^>]*>[^<]*</script>", page.text)
    found = re.fullmatch(r'<script src="([^"]+)" defer></script>', tag)
    assert found, tag
    return str(found[1])
