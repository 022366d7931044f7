"""Statements 19 to 21 and 24 to 26: signing in and out."""

import asyncio

import httpx2
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from garrison.authserver import admin, backoff, seal
from garrison.authserver.passwords import Passwords, hash_password
from garrison.authserver.settings import PasswordCost
from garrison.authserver.stores import tables
from garrison.authserver.stores.users import find_user
from garrison.base.events import Kind
from tests.authserver.world import CHEAP, ON_EVERY_ENGINE, PASSWORD, Forms, Make, World


async def login_page(world: World, browser: httpx2.AsyncClient, client: admin.NewClient | None = None) -> str:
    """The location of a login page that waits for `browser`."""
    request = world.authorization(client or await world.client())
    response = await browser.get("/authorize", params=request)
    return str((await browser.get(response.headers["location"])).headers["location"])


async def test_19_every_redirect_after_a_form_is_a_303(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        location = await login_page(world, browser, client)
        signed_in = await world.sign_in(browser, location)
        decided = await world.decide(browser, await world.consent_page(browser, client))
        csrf = Forms((await browser.get("/logout")).text).fields("/logout")
        signed_out = await browser.post("/logout", data=csrf)
        posted = await browser.post("/authorize", data=world.authorization(client))
    assert [r.status_code for r in (signed_in, decided, signed_out, posted)] == [303] * 4


async def test_19_a_slash_at_the_end_is_no_redirect_that_would_post_again(world: World) -> None:
    async with world.browser() as http:
        assert (await http.post("/token/", data={"a": "b"})).status_code == 404


@pytest.mark.parametrize("wrong", ["", "x" * 43])
async def test_20_a_form_without_its_token_is_refused(world: World, wrong: str) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        page = await browser.get(await login_page(world, browser, client))
        fields = {**Forms(page.text).fields("/login"), "username": "alice", "password": PASSWORD, "csrf": wrong}
        assert (await browser.post("/login", data=fields)).status_code == 400
        consent = await world.consent_page(browser, client)
        fields = {**Forms(consent.text).fields("/consent"), "decision": "approve", "csrf": wrong}
        assert (await browser.post("/consent", data=fields)).status_code == 400
        assert (await browser.post("/logout", data={"csrf": wrong})).status_code == 400
    assert not world.events.of(Kind.CONSENT_GIVEN)


async def test_20_a_form_token_of_another_browser_or_another_form_is_refused(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as attacker, world.browser() as victim:
        page = await attacker.get(await login_page(world, attacker, client))
        fields = {**Forms(page.text).fields("/login"), "username": "alice", "password": PASSWORD}
        assert (await victim.post("/login", data=fields)).status_code == 400
        victim.cookies.set("__Host-garrison", "y" * 43)
        assert (await victim.post("/login", data=fields)).status_code == 400
        victim.cookies.clear()
        consent = await world.consent_page(victim, client)
        sign_out = Forms(consent.text).fields("/logout")
        assert (await victim.post("/consent", data={**sign_out, "decision": "approve"})).status_code == 400


@ON_EVERY_ENGINE
async def test_20_the_session_id_rotates_at_sign_in_and_the_old_one_names_nobody(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        location = await login_page(world, browser)
        await browser.get(location)
        before = browser.cookies["__Host-garrison"]
        response = await world.sign_in(browser, location)
        after = browser.cookies["__Host-garrison"]
        assert before != after
        assert (await browser.get(response.headers["location"])).status_code == 200
        await world.sign_in(await _signed_out_copy(browser), location)
    async with world.browser() as fixed:
        fixed.cookies.set("__Host-garrison", before)
        assert (await fixed.get(response.headers["location"])).headers["location"].startswith("/login?")


async def _signed_out_copy(browser: httpx2.AsyncClient) -> httpx2.AsyncClient:
    browser.cookies.clear()
    return browser


async def test_20_a_sealed_request_that_was_changed_or_is_too_old_is_refused(world: World) -> None:
    async with world.browser() as browser:
        location = await login_page(world, browser)
        assert (await browser.get(location.replace("request=e", "request=f"))).status_code == 400
        assert (await browser.get(location[:-1] + ("A" if location[-1] != "A" else "Q"))).status_code == 400
        world.time += world.settings.sign_in_lifetime
        assert (await browser.get(location)).status_code == 400


async def test_21_every_page_is_unframed_unstored_unreferred_and_without_script(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        pages = [
            await browser.get("/authorize"),
            await browser.get(await login_page(world, browser, client)),
            await world.consent_page(browser, client),
            await browser.get("/logout"),
        ]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "unsafe" not in policy
        assert "script" not in policy + page.text
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("https://app.example:8443/cb", " https://app.example:8443"),
        ("http://127.0.0.1:9/cb", " http://127.0.0.1:9"),
        ("http://[::1]:9/cb", " http:"),
        ("com.example.app:/cb", " com.example.app:"),
    ],
)
async def test_21_forms_may_lead_to_us_and_to_the_clients_redirect_uri_alone(
    world: World, uri: str, source: str
) -> None:
    await world.user()
    client = await world.client(redirect_uris=[uri])
    async with world.browser() as browser:
        for page in (
            await browser.get(await login_page(world, browser, client)),
            await world.consent_page(browser, client),
        ):
            assert page.headers["content-security-policy"].endswith(f"; form-action 'self'{source}")


async def test_21_the_stylesheet_that_pages_name_is_served(world: World) -> None:
    async with world.browser() as browser:
        page = await browser.get("/authorize")
        href = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
        style = await browser.get(href)
    assert style.headers["content-type"].startswith("text/css")
    assert "style-src 'self'" in page.headers["content-security-policy"]


@ON_EVERY_ENGINE
async def test_24_passwords_are_kept_as_argon2id(make_world: Make) -> None:
    world = await make_world(password_cost=PasswordCost())
    await admin.add_user(world.store, "bob", scope="customer:read", password=PASSWORD)
    found = await find_user(world.store, "bob")
    assert found is not None
    parameters = extract_parameters(found[1])
    assert (parameters.type.name, parameters.time_cost, parameters.memory_cost) == ("ID", 3, 65_536)
    assert PASSWORD not in found[1]


async def test_24_unknown_disabled_and_wrong_get_the_same_answer(world: World) -> None:
    await world.user()
    await world.user("carol")
    await admin.disable_user(world.store, "carol")
    answers = []
    async with world.browser() as browser:
        location = await login_page(world, browser)
        for username, password in (("alice", "wrong password"), ("nobody", PASSWORD), ("carol", PASSWORD), ("", "")):
            response = await world.sign_in(browser, location, username, password)
            answers.append((response.status_code, response.text.replace(f'value="{username}"', 'value=""')))
    assert answers[0][0] == 403
    texts = {text.replace(" autofocus", "") for _, text in answers}
    assert len(texts) == 1


async def test_24_an_unknown_user_takes_as_long_as_a_wrong_password(
    make_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes the time is Argon2id: as many hashes are made for the one as for the other, each as dear."""
    cost = PasswordCost(time=2, memory_kib=64, parallelism=1)
    world = await make_world(password_cost=cost)
    await admin.add_user(world.store, "alice", scope="a", password=PASSWORD, cost=cost)
    verified: list[object] = []

    def verify(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
        with pytest.raises(VerifyMismatchError) as mismatch:  # which only a whole hash comes to
            whole(hasher, password_hash, password)
        verified.append(extract_parameters(password_hash))
        raise mismatch.value

    whole = PasswordHasher.verify
    monkeypatch.setattr(PasswordHasher, "verify", verify)
    async with world.browser() as browser:
        location = await login_page(world, browser)
        for username in ("alice", "nobody"):
            await world.sign_in(browser, location, username, "wrong password")
    known, unknown = verified
    assert known == unknown
    assert Passwords(cost)._nobody != Passwords(cost)._nobody


async def test_24_a_password_is_the_same_however_it_was_typed_and_never_cut(world: World) -> None:
    passwords = Passwords(CHEAP)
    composed, decomposed = "caf\u00e9 caf\u00e9 caf\u00e9", "cafe\u0301 cafe\u0301 cafe\u0301"
    assert await passwords.verify(decomposed, await hash_password(composed, CHEAP))
    longest = await hash_password("x" * 1024, CHEAP)
    assert await passwords.verify("x" * 1024, longest)
    assert not await passwords.verify("x" * 1025, longest)


@ON_EVERY_ENGINE
async def test_25_wrong_passwords_are_slowed_down_by_account(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        location = await login_page(world, browser)
        for _ in range(6):
            assert (await world.sign_in(browser, location, "alice", "wrong password")).status_code == 403
        blocked = await world.sign_in(browser, location)
        assert blocked.status_code == 429
        assert blocked.headers["retry-after"] == "2"
        world.time += 2
        assert (await world.sign_in(browser, location, "alice", "wrong password")).status_code == 403
        assert (await world.sign_in(browser, location)).headers["retry-after"] == "4"
        world.time += 4
        assert (await world.sign_in(browser, location)).status_code == 303
    failures = world.events.of(Kind.LOGIN_FAILED)
    assert [event.reason for event in failures].count("wrong password") == 7
    assert [event.reason for event in failures].count("back-off") == 2
    assert {event.subject for event in failures} == {"alice"}
    assert [event.subject for event in world.events.of(Kind.LOGIN_SUCCEEDED)] == ["alice"]


@ON_EVERY_ENGINE
async def test_25_two_hundred_guesses_at_once_are_not_two_hundred_guesses(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        page = await browser.get(await login_page(world, browser))
        fields = {**Forms(page.text).fields("/login"), "username": "alice"}
        guesses = [browser.post("/login", data={**fields, "password": f"guess number {n}"}) for n in range(200)]
        statuses = [response.status_code for response in await asyncio.gather(*guesses)]
    assert statuses.count(403) == 6
    assert statuses.count(429) == 194


@ON_EVERY_ENGINE
async def test_25_wrong_passwords_are_slowed_down_by_address_whatever_the_account(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        location = await login_page(world, browser)
        for n in range(21):
            assert (await world.sign_in(browser, location, f"user{n}", "wrong password")).status_code == 403
        assert (await world.sign_in(browser, location, "user99", "wrong password")).status_code == 429
    async with world.browser(address="203.0.113.8") as elsewhere:
        location = await login_page(world, elsewhere)
        assert (await world.sign_in(elsewhere, location)).status_code == 303


@ON_EVERY_ENGINE
async def test_25_knowing_one_password_buys_no_guesses_at_others(world: World) -> None:
    await world.user("mallory")
    async with world.browser() as browser:
        location = await login_page(world, browser)
        for n in range(20):
            await world.sign_in(browser, location, f"user{n}", "wrong password")
        await world.sign_in(browser, location, "mallory")
        browser.cookies.clear()
        location = await login_page(world, browser)
        assert (await world.sign_in(browser, location, "user20", "wrong password")).status_code == 403
        assert (await world.sign_in(browser, location, "user21", "wrong password")).status_code == 429


async def test_25_an_ipv6_site_is_one_stranger(world: World) -> None:
    async with world.browser() as browser:
        location = await login_page(world, browser)
    for n in range(21):
        async with world.browser(address=f"2001:db8::{n:x}") as browser:
            await world.sign_in(browser, location, f"user{n}", "wrong password")
    async with world.browser(address="2001:db8::ffff") as browser:
        assert (await world.sign_in(browser, location, "user99", "wrong password")).status_code == 429


async def test_25_what_an_unknown_user_typed_is_in_no_event(world: World) -> None:
    async with world.browser() as browser:
        await world.sign_in(browser, await login_page(world, browser), "my secret by mistake", "x")
    assert "my secret by mistake" not in repr(world.events.events)
    assert world.events.of(Kind.LOGIN_FAILED)[0].detail["account"]


async def test_26_the_cookie_is_host_bound_secure_http_only_and_lax(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        location = await login_page(world, browser)
        for response in (await browser.get(location), await world.sign_in(browser, location)):
            name, *attributes = response.headers.get_list("set-cookie")[0].replace("=", ";", 1).split(";")
            assert name == "__Host-garrison"
            assert {a.strip().lower() for a in attributes[1:]} == {"secure", "httponly", "samesite=lax", "path=/"}


async def test_26_on_http_loopback_the_cookie_has_another_name_and_is_not_secure(make_world: Make) -> None:
    world = await make_world(issuer="http://localhost:8080")
    async with world.browser() as browser:
        cookie = (await browser.get(await login_page(world, browser))).headers["set-cookie"].lower()
    assert cookie.startswith("garrison-insecure=")
    assert "secure" not in cookie.partition(";")[2]
    assert "httponly" in cookie


@ON_EVERY_ENGINE
async def test_a_session_ends_after_its_lifetime(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        await world.consent_page(browser, client)
        world.time += world.settings.session_lifetime
        response = await browser.get("/authorize", params=world.authorization(client))
        response = await browser.get(response.headers["location"])
    assert response.headers["location"].startswith("/login?")


async def test_who_is_signed_in_already_is_not_asked_again_and_who_is_not_can_sign_out_too(world: World) -> None:
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        location = await login_page(world, browser, client)
        await world.sign_in(browser, location)
        assert (await browser.get(location)).headers["location"].startswith("/consent?")
        browser.cookies.clear()
        browser.cookies.set("__Host-garrison", "z" * 43)
        fields = {"csrf": seal.mac(world.settings.secret, "form", "z" * 43, "logout")}
        assert (await browser.post("/logout", data=fields)).status_code == 303
    assert not world.events.of(Kind.TOKEN_REVOKED)


@ON_EVERY_ENGINE
async def test_25_where_there_is_no_address_the_account_alone_counts(world: World) -> None:
    for n in range(30):
        wait = await backoff.charge(world.store, world.settings, username=f"user{n}", address="", now=world.time)
        assert wait == 0
    for _ in range(6):
        wait = await backoff.charge(world.store, world.settings, username="alice", address="", now=world.time)
    assert await backoff.charge(world.store, world.settings, username="alice", address="", now=world.time) == 2


async def test_signing_out_on_the_consent_page_lets_another_user_sign_in(world: World) -> None:
    await world.user()
    await world.user("bob")
    async with world.browser() as browser:
        page = await world.consent_page(browser, await world.client())
        response = await browser.post("/logout", data=Forms(page.text).fields("/logout"))
        response = await world.sign_in(browser, response.headers["location"], "bob")
        page = await browser.get(response.headers["location"])
    assert "<strong>bob</strong>" in page.text


@pytest.mark.parametrize("prefix", [b"\xa0", b"\x85", b"\x1f", b"x=1,", b'"'])
async def test_26_a_cookie_that_only_looks_like_ours_once_it_is_trimmed_is_not_ours(
    world: World, prefix: bytes
) -> None:
    await world.user()
    async with world.browser() as browser:
        await world.sign_in(browser, "/login")
        value = browser.cookies["__Host-garrison"].encode()
    async with world.browser() as browser:

        async def status(header: bytes) -> int:
            return (await browser.get("/account/grants", headers=[(b"cookie", header)])).status_code

        own = b"__Host-garrison=" + value
        assert await status(b"a=1;\t" + own + b" ; b=2") == 200
        assert await status(b"a=1; " + prefix + own) == 303
        assert await status(b"__Host-garrison=" + b"A" * 43 + b"; " + own) == 303, "two are none"
        assert await status(own + b"; __Host-garrison=" + b"A" * 43) == 303, "whichever comes first"
        assert await status(prefix + b"__Host-garrison=" + b"A" * 43 + b"; " + own) == 200, "nor does it displace ours"


DEVICE = "__Host-garrison-device"


async def test_25_a_stranger_who_types_wrong_passwords_does_not_keep_a_user_out_of_a_browser_they_know(
    world: World,
) -> None:
    await world.user()
    await world.user("bob")
    async with world.browser() as known, world.browser(address="198.51.100.66") as stranger:
        await world.sign_in(known, "/login")
        device = known.cookies[DEVICE]
        for _ in range(world.settings.free_failures_per_account + 1):
            assert (await world.sign_in(stranger, "/login", password="wrong")).status_code == 403
        assert (await world.sign_in(stranger, "/login")).status_code == 429
        known.cookies.delete("__Host-garrison")
        assert (await world.sign_in(known, "/login")).status_code == 303
        assert known.cookies[DEVICE] == device, "one browser, one count"
        assert (await world.sign_in(stranger, "/login")).status_code == 429, "for strangers nothing is forgiven"
        for forged in (device[:-1] + ("A" if device[-1] != "A" else "B"), "x." + device.partition(".")[2], "."):
            stranger.cookies.set(DEVICE, forged, domain="auth.example", path="/")
            assert (await world.sign_in(stranger, "/login")).status_code == 429, forged
            stranger.cookies.clear()


async def test_25_a_known_browser_is_slowed_down_too_and_knows_one_user_alone(world: World) -> None:
    await world.user()
    await world.user("bob")
    async with world.browser() as browser:
        await world.sign_in(browser, "/login")
        device = browser.cookies[DEVICE]
    for username in ("alice", "bob"):
        async with world.browser(address="198.51.100.66") as stranger, world.browser() as browser:
            browser.cookies.set(DEVICE, device, domain="auth.example", path="/")
            wrong = browser if username == "alice" else stranger
            for _ in range(world.settings.free_failures_per_account + 1):
                assert (await world.sign_in(wrong, "/login", username, "wrong")).status_code == 403
            assert (await world.sign_in(browser, "/login", username)).status_code == 429


async def test_26_the_cookie_of_a_known_browser_is_set_by_a_sign_in_alone_and_names_nobody(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        assert DEVICE not in (await world.sign_in(browser, "/login", password="wrong")).headers.get("set-cookie", "")
        headers = (await world.sign_in(browser, "/login")).headers.get_list("set-cookie")
        header = next(header for header in headers if header.startswith(f"{DEVICE}="))
        assert "alice" not in header
        for attribute in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
            assert attribute in header
        assert "Domain" not in header
        kept = browser.cookies[DEVICE]
        browser.cookies.clear()
        browser.cookies.set(DEVICE, kept, domain="auth.example", path="/")
        assert (await browser.get("/account/grants")).status_code == 303, "it signs nobody in"


async def test_25_an_address_that_must_wait_leaves_no_row_for_each_name_it_makes_up(world: World) -> None:
    async with world.browser() as browser:
        statuses = [
            (await world.sign_in(browser, "/login", f"user{number}", "wrong")).status_code for number in range(24)
        ]
    assert statuses == [403] * 21 + [429] * 3
    async with world.store.read() as connection:
        assert len((await connection.execute(tables.attempts.select())).all()) == 21 + 1, "with the address's own"
