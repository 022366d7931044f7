"""Statements 49 and 50, and how the server behaves when something is wrong with it."""

import asyncio
import logging
import subprocess
import sys
from ipaddress import ip_address

import anyio
import pytest
import sqlalchemy as sa
from starlette.types import Message

from garrison.authserver import admin, seal
from garrison.authserver.stores.purge import purge
from garrison.authserver.stores.store import StoreUnavailableError, open_store
from garrison.authserver.stores.tables import METADATA
from garrison.base.errors import UsageError
from garrison.base.events import Kind
from garrison.oauth import jwks
from garrison.oauth.errors import InvalidRequest
from tests.authserver.test_refresh import start
from tests.authserver.world import CALLBACK, ON_EVERY_ENGINE, PASSWORD, Forms, Make, World


async def address_seen(world: World, peer: str, **headers: str) -> str:
    async with world.browser(address=peer) as http:
        await http.post("/token", data={"client_id": "x"}, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return world.events.events[-1].address


async def test_49_forwarded_headers_of_strangers_are_not_believed(world: World) -> None:
    forged = {"x_forwarded_for": "198.51.100.1", "forwarded": "for=198.51.100.1", "x_real_ip": "198.51.100.1"}
    assert await address_seen(world, "203.0.113.7", **forged) == "203.0.113.7"


async def test_49_a_configured_proxy_is_believed_about_its_own_peer_and_no_further(make_world: Make) -> None:
    world = await make_world(trusted_proxies=["10.0.0.0/8", "2001:db8::1"])
    assert await address_seen(world, "10.0.0.1", x_forwarded_for="1.2.3.4, 198.51.100.1") == "198.51.100.1"
    assert await address_seen(world, "10.0.0.1", x_forwarded_for="198.51.100.1, 10.9.9.9") == "198.51.100.1"
    assert await address_seen(world, "::ffff:10.0.0.1", x_forwarded_for="198.51.100.1") == "198.51.100.1"
    assert await address_seen(world, "10.0.0.1", x_forwarded_for="<script>") == "10.0.0.1"
    assert await address_seen(world, "10.0.0.1") == "10.0.0.1"
    assert await address_seen(world, "203.0.113.7", x_forwarded_for="198.51.100.1") == "203.0.113.7"


@ON_EVERY_ENGINE
async def test_50_no_secret_is_in_a_log_an_event_a_url_of_ours_or_an_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client, token = await start(world)
    await world.refresh(client, token)
    await world.refresh(client, "wrong-refresh-token")
    async with world.browser() as browser:
        page = await world.consent_page(browser, client)
        session = browser.cookies["__Host-garrison"]
        wrong = await browser.post("/token", data={"client_id": client.client_id, "client_secret": "wrong-secret"})
    ours = [record for record in caplog.records if record.name.startswith(("garrison", "starlette"))]
    told = "".join([repr(world.events.events), wrong.text, page.text, str(page.url), *map(repr, ours)])
    for secret in (client.client_secret or "", token, PASSWORD, session, "wrong-secret", "wrong-refresh-token"):
        assert secret not in told
    assert world.settings.secret.decode() not in repr(world.settings)


async def test_50_an_unforeseen_error_tells_nobody_what_it_was(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await world.client()

    async def fail(*_args: object, **_kwargs: object) -> None:
        raise ValueError("a message with hunter2 in it")

    monkeypatch.setattr(world.events, "write", fail)
    response = await world.token(client, {"grant_type": "client_credentials"})
    assert (response.status_code, response.json()["error"]) == (500, "server_error")
    assert "hunter2" not in response.text + caplog.text
    assert "ValueError" in caplog.text
    async with world.browser() as browser:
        page = await browser.get("/authorize")
    assert page.status_code == 500
    assert "hunter2" not in page.text + caplog.text


@ON_EVERY_ENGINE
async def test_a_database_that_is_gone_is_503_with_retry_after_and_not_500(world: World) -> None:
    client = await world.client()
    async with world.browser() as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
    async with world.store.write() as connection:  # one table, for one lock: two could meet the purge's in a deadlock
        await connection.execute(sa.text("ALTER TABLE clients RENAME TO elsewhere"))
    responses = [await world.token(client, {"grant_type": "client_credentials"})]
    async with world.browser() as browser:
        responses.append(await browser.get("/authorize", params=world.authorization(client)))
        responses.append(await browser.get("/healthz"))
    for response in responses:
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert "clients" not in response.text


@ON_EVERY_ENGINE
async def test_a_character_that_no_database_can_hold_is_refused_and_no_outage(make_world: Make) -> None:
    world = await make_world(registration=True)
    keys = {"keys": [{**jwks.new_signing_key("ES256").public(), "x5t": "a\0b"}]}
    metadata = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt", "jwks": keys}
    form = {"grant_type": "client_credentials"}
    async with world.browser() as http:
        answers = [
            await http.get("/authorize", params={"client_id": "a\0b"}),
            await http.post("/token", data={**form, "client_id": "a\0b"}),
            await http.post("/token", data=form, auth=("a\0b", "c")),
            await http.post("/register", json=metadata),
        ]
    assert [answer.status_code for answer in answers] == [400, 400, 401, 201]


@ON_EVERY_ENGINE
async def test_a_client_credentials_token_that_can_not_be_recorded_is_not_issued(world: World) -> None:
    client = await world.client()
    world.events.broken = True
    response = await world.token(client, {"grant_type": "client_credentials"})
    assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")


@ON_EVERY_ENGINE
async def test_a_sign_in_that_can_not_be_recorded_does_not_happen(world: World) -> None:
    await world.user()
    async with world.browser() as browser:
        response = await browser.get("/authorize", params=world.authorization(await world.client()))
        location = (await browser.get(response.headers["location"])).headers["location"]
        world.events.broken = True
        response = await world.sign_in(browser, location)
        assert response.status_code == 503
        assert (await browser.get(location)).status_code == 200


async def test_a_refusal_stands_even_if_it_can_not_be_recorded(world: World) -> None:
    world.events.broken = True
    client = await world.client()
    wrong = admin.NewClient(client.client_id, "wrong", client.client)
    assert (await world.token(wrong, {"grant_type": "client_credentials"})).status_code == 401


async def test_every_event_of_one_request_has_one_correlation_id_and_the_peers_address(world: World) -> None:
    await start(world)
    for event in world.events.events:
        assert len(event.correlation_id) == 32
        assert ip_address(event.address) == ip_address("203.0.113.7")
        assert event.target.split()[0] in {"GET", "POST"}
    assert len({event.correlation_id for event in world.events.events}) == len(world.events.events)


async def test_a_body_that_is_cut_off_is_no_error_of_ours(world: World) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/token",
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
        "client": ("203.0.113.7", 1),
    }
    await world.app(scope, receive, send)
    assert sent[0]["status"] == 400


async def test_an_unknown_path_is_a_json_404(world: World) -> None:
    async with world.browser() as http:
        response = await http.get("/nowhere")
    assert response.status_code == 404
    assert response.json()["error"] == "invalid_request"


async def test_an_issuer_with_a_path_has_everything_below_it(make_world: Make) -> None:
    world = await make_world(issuer="https://auth.example/tenant")
    await world.user()
    client = await world.client()
    async with world.browser() as browser:
        response = await browser.get("/tenant/authorize", params=world.authorization(client))
        assert response.headers["location"].startswith("/tenant/consent?")
        response = await browser.get(response.headers["location"])
        assert response.headers["location"].startswith("/tenant/login?")
        page = await browser.get(response.headers["location"])
        assert Forms(page.text).forms[0][0] == "/tenant/login"
        assert "/tenant/style.css" in page.text
        assert (await browser.get("/authorize")).status_code == 404


@ON_EVERY_ENGINE
async def test_what_has_expired_is_purged_in_small_steps_and_what_has_not_stays(world: World) -> None:
    client, token = await start(world)
    async with world.browser() as browser:
        response = await browser.get("/authorize", params=world.authorization(client))
        location = (await browser.get(response.headers["location"])).headers["location"]
        await world.sign_in(browser, location, "nobody", "x")
    await world.code(client)
    assert await purge(world.store, world.time) == 0
    assert (await world.refresh(client, token)).status_code == 200
    far = world.time + world.settings.refresh_absolute_lifetime + 100_000
    assert await purge(world.store, far, batch=1) > 0
    while await purge(world.store, far, batch=1):
        pass
    async with world.store.read() as connection:
        for name in ("codes", "refresh_tokens", "families", "sessions", "attempts"):
            assert await connection.scalar(sa.select(sa.func.count()).select_from(METADATA.tables[name])) == 0, name


@ON_EVERY_ENGINE
async def test_no_step_of_the_purge_deletes_more_than_its_share_of_a_family_with_many_tokens(world: World) -> None:
    client, token = await start(world)
    for _ in range(9):
        token = (await world.refresh(client, token)).json()["refresh_token"]
    far = world.time + world.settings.refresh_absolute_lifetime + 86_401

    async def rows() -> int:
        async with world.store.read() as connection:
            counts = [
                await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
                for table in METADATA.sorted_tables
            ]
        return sum(counts)

    before = await rows()
    while gone := await purge(world.store, far, batch=2):
        left = await rows()
        assert left == before - gone, "more rows went than were counted"
        assert gone <= 2 * 5
        before = left


@ON_EVERY_ENGINE
async def test_two_replicas_that_purge_at_once_do_not_get_into_each_others_way(world: World, make_world: Make) -> None:
    client, token = await start(world)
    for _ in range(9):
        token = (await world.refresh(client, token)).json()["refresh_token"]
    far = world.time + world.settings.refresh_absolute_lifetime + 86_401
    async with open_store(world.settings.database_url) as other:
        with anyio.fail_after(60):
            while await purge(world.store, far, batch=1) + await purge(other, far, batch=1):
                await asyncio.gather(*(purge(store, far, batch=1) for store in (world.store, other)))
    async with world.store.read() as connection:
        assert not await connection.scalar(sa.select(sa.func.count()).select_from(METADATA.tables["families"]))


@ON_EVERY_ENGINE
async def test_replicas_that_open_one_new_database_at_once_do_not_collide(make_world: Make) -> None:
    world = await make_world()
    assert [await world.another_app() for _ in range(3)]


@pytest.mark.parametrize("url", ["mysql+nothing://user:hunter2@host/db", "://user:hunter2@", "sqlite+pysqlite:///x"])
async def test_a_database_url_that_can_not_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        async with open_store(url):
            pass
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["/nonexistent/folder/auth.db", ":memory:", "sqlite+aiosqlite://"])
async def test_a_database_that_can_not_be_opened_is_one_clear_error(url: str) -> None:
    with pytest.raises(StoreUnavailableError):
        async with open_store(url):
            pass


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "http://auth.example"},
        {"issuer": "https://auth.example?x=1"},
        {"issuer": "https://auth.example#x"},
        {"issuer": "https://user@auth.example"},
        {"issuer": "auth.example"},
        {"issuer": "https://auth.example//evil.example"},
        {"secret": b"short"},
        {"resources": {}},
        {"code_lifetime": 61},
        {"code_lifetime": 0},
        {"refresh_grace": 61},
        {"trusted_proxies": ["not an address"]},
    ],
)
async def test_settings_that_weaken_the_server_are_refused(world: World, change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        world.changed(**change)


def test_a_sealed_value_serves_one_key_and_one_purpose() -> None:
    key = b"k" * 32
    sealed = seal.seal(key, {"a": 1}, 10.0)
    assert seal.unseal(key, sealed, 9.0) == {"a": 1}
    for forged in ("", ".", "x.y", sealed + "x", sealed.partition(".")[0], f"{sealed.partition('.')[0]}.", "é.é"):
        with pytest.raises(InvalidRequest):
            seal.unseal(key, forged, 9.0)
    with pytest.raises(InvalidRequest):
        seal.unseal(b"j" * 32, sealed, 9.0)
    body = sealed.partition(".")[0]
    with pytest.raises(InvalidRequest):
        seal.unseal(key, f"{body}.{seal.mac(key, 'form', body)}", 9.0)
    assert seal.mac(key, "a", "b", "c") != seal.mac(key, "a", "bc") != seal.mac(key, "ab", "c")


@ON_EVERY_ENGINE
async def test_admin_says_what_is_not_there_and_what_is_taken(world: World) -> None:
    public = await world.client(public=True)
    await world.user()
    for wrong in (
        admin.show_client(world.store, "client_x"),
        admin.rotate_client_secret(world.store, "client_x"),
        admin.rotate_client_secret(world.store, public.client_id),
        admin.disable_client(world.store, "client_x"),
        admin.remove_client(world.store, "client_x"),
        admin.disable_user(world.store, "nobody"),
        admin.remove_user(world.store, "nobody"),
        admin.set_password(world.store, "nobody"),
        admin.set_user_scope(world.store, "nobody", "a"),
        admin.add_user(world.store, "bob", scope="a", password="short"),
        admin.add_user(world.store, "alice", scope="a"),
    ):
        with pytest.raises(UsageError):
            await wrong


@ON_EVERY_ENGINE
async def test_admin_lists_what_was_added_and_makes_random_passwords(world: World) -> None:
    client = await world.client()
    made = [await admin.add_user(world.store, name, scope="a b", events=world.events) for name in ("bob", "carol")]
    assert [c.client_id for c in await admin.list_clients(world.store)] == [client.client_id]
    assert await admin.show_client(world.store, client.client_id) == client.client
    assert [user.username for user in await admin.list_users(world.store)] == ["bob", "carol"]
    assert made[0].password != made[1].password
    assert len(made[0].password) == 20
    assert [event.subject for event in world.events.of(Kind.USER_ADDED)] == ["bob", "carol"]


def test_settings_are_cheap_to_import() -> None:
    heavy = "('sqlalchemy', 'joserfc', 'starlette', 'argon2')"
    code = f"import sys, garrison.authserver.settings; print([name for name in {heavy} if name in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"


async def test_an_error_page_says_nothing_that_a_link_put_into_the_name_of_a_parameter(world: World) -> None:
    async with world.browser() as browser:
        page = await browser.get("/consent?Call+0800+now=1&Call+0800+now=2")
        assert page.status_code == 400
        assert "0800" not in page.text
        assert "state" in (await browser.get("/consent?state=1&state=2")).text
