"""Statements 27 to 31: the authorization code."""

import asyncio
import hmac
import os
from pathlib import Path

import anyio
import pytest

from garrison.authserver import admin
from garrison.authserver.stores.purge import purge
from garrison.base.events import Event, Kind, Scalar
from garrison.oauth import pkce
from tests.authserver.world import CALLBACK, CHEAP, ON_EVERY_ENGINE, Make, World
from tests.postgresql import dump


async def everything_on_disk(world: World) -> bytes:
    """All that the database keeps: the bytes of its files, or its dump."""
    url = world.settings.database_url
    if url.startswith("postgresql:"):
        return dump(url)
    folder = Path(url).parent
    return b"".join(path.read_bytes() for path in folder.iterdir())


def issued(world: World) -> set[Scalar]:
    """The tokens that events say are out: recorded as issued, and not taken back."""
    taken_back = {event.detail.get("jti") for event in world.events.of(Kind.TOKEN_REFUSED)}
    return {event.detail["jti"] for event in world.events.of(Kind.TOKEN_ISSUED)} - taken_back


@ON_EVERY_ENGINE
async def test_27_a_code_has_256_bits_and_is_stored_hashed(world: World) -> None:
    await world.user()
    code = await world.code(await world.client())
    assert len(code) == 43
    assert code.encode() not in await everything_on_disk(world)


async def test_27_a_code_lives_no_longer_than_its_lifetime(make_world: Make) -> None:
    world = await make_world(code_lifetime=30)
    await world.user()
    client = await world.client()
    code = await world.code(client)
    world.time += 30
    response = await world.token(client, world.redemption(client, code))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


@ON_EVERY_ENGINE
async def test_28_of_fifty_redemptions_at_once_on_two_replicas_exactly_one_succeeds(world: World) -> None:
    await world.user()
    client = await world.client()
    apps = [world.app, await world.another_app()]
    form = world.redemption(client, await world.code(client))
    responses = await asyncio.gather(*(world.token(client, form, apps[n % 2]) for n in range(50)))
    statuses = [response.status_code for response in responses]
    assert statuses.count(200) == 1
    assert statuses.count(400) == 49
    assert len(issued(world)) == 1


@ON_EVERY_ENGINE
async def test_29_a_valid_replay_revokes_the_whole_family(world: World) -> None:
    await world.user()
    client = await world.client()
    form = world.redemption(client, await world.code(client))
    first = (await world.token(client, form)).json()
    assert (await world.token(client, form)).json()["error"] == "invalid_grant"
    assert (await world.refresh(client, first["refresh_token"])).json()["error"] == "invalid_grant"
    assert (
        world.events.of(Kind.TOKEN_REUSED)[0].detail["family"] == world.events.of(Kind.TOKEN_ISSUED)[0].detail["family"]
    )


@ON_EVERY_ENGINE
async def test_29_a_valid_replay_is_known_even_after_the_code_has_expired(world: World) -> None:
    await world.user()
    client = await world.client()
    form = world.redemption(client, await world.code(client))
    first = (await world.token(client, form)).json()
    world.time += 3600
    await purge(world.store, world.time)
    await world.token(client, form)
    assert (await world.refresh(client, first["refresh_token"])).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "change", [{"code_verifier": "w" * 43}, {"redirect_uri": "https://evil.example/"}, {"code_verifier": None}]
)
@ON_EVERY_ENGINE
async def test_29_an_invalid_replay_revokes_nothing(world: World, change: dict[str, str | None]) -> None:
    await world.user()
    client = await world.client()
    code = await world.code(client)
    first = (await world.token(client, world.redemption(client, code))).json()
    assert (await world.token(client, world.redemption(client, code, **change))).status_code == 400
    other = await world.client()
    assert (await world.token(other, world.redemption(client, code))).status_code == 400
    assert (await world.refresh(client, first["refresh_token"])).status_code == 200


@pytest.mark.parametrize("verifier", [None, "w" * 43, "v" * 42, "v" * 44, "v" * 129, "v" * 42 + "=", "abc"])
async def test_30_the_verifier_is_required_well_formed_and_right(world: World, verifier: str | None) -> None:
    await world.user()
    client = await world.client()
    code = await world.code(client)
    response = await world.token(client, world.redemption(client, code, code_verifier=verifier))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await world.token(client, world.redemption(client, code))).status_code == 200, "the code was spent"


async def test_30_a_verifier_that_is_too_short_is_refused_though_it_matches(world: World) -> None:
    await world.user()
    client = await world.client()
    for short in ("abc", "v" * 42, "v" * 129):
        code = await world.code(client, code_challenge=pkce.challenge_s256(short))
        response = await world.token(client, world.redemption(client, code, code_verifier=short))
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


def test_30_the_comparison_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(a: str, b: str) -> bool:
        compared.append((a, b))
        return whole(a, b)

    whole = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    challenge = pkce.challenge_s256("v" * 43)
    pkce.verify("v" * 43, challenge)
    assert compared == [(challenge, challenge)]


async def test_30_the_challenge_itself_is_no_verifier(world: World) -> None:
    await world.user()
    client = await world.client()
    challenge = pkce.challenge_s256(world.verifier)
    form = world.redemption(client, await world.code(client), code_verifier=challenge)
    assert (await world.token(client, form)).json()["error"] == "invalid_grant"


async def test_31_another_client_can_not_redeem_the_code(world: World) -> None:
    await world.user()
    client, other, public = await world.client(), await world.client(), await world.client(public=True)
    code = await world.code(client)
    for thief in (other, public):
        response = await world.token(thief, world.redemption(client, code))
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await world.token(client, world.redemption(client, code))).status_code == 200


@pytest.mark.parametrize("uri", [None, "https://evil.example/", f"{CALLBACK}/", "https://app.example/callback"])
async def test_31_redirect_uri_must_be_the_one_of_the_authorization_request(world: World, uri: str | None) -> None:
    await world.user()
    client = await world.client(redirect_uris=[CALLBACK, "https://app.example/callback"])
    response = await world.token(client, world.redemption(client, await world.code(client), redirect_uri=uri))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


async def test_31_redirect_uri_may_be_left_out_if_the_authorization_request_had_none(world: World) -> None:
    await world.user()
    client = await world.client()
    for uri in (None, CALLBACK):
        code = await world.code(client, redirect_uri=None)
        assert (await world.token(client, world.redemption(client, code, redirect_uri=uri))).status_code == 200
    code = await world.code(client, redirect_uri=None)
    wrong = world.redemption(client, code, redirect_uri="https://evil.example/")
    assert (await world.token(client, wrong)).json()["error"] == "invalid_grant"


@ON_EVERY_ENGINE
async def test_a_code_is_dead_once_its_user_is_disabled_or_signed_out(world: World) -> None:
    await world.user()
    client = await world.client()
    code = await world.code(client)
    await admin.disable_user(world.store, "alice")
    assert (await world.token(client, world.redemption(client, code))).json()["error"] == "invalid_grant"
    await admin.disable_user(world.store, "alice", disabled=False)
    assert (await world.token(client, world.redemption(client, code))).json()["error"] == "invalid_grant"


@ON_EVERY_ENGINE
async def test_an_issue_that_can_not_be_recorded_does_not_happen_and_the_code_can_be_tried_again(world: World) -> None:
    await world.user()
    client = await world.client()
    form = world.redemption(client, await world.code(client))
    world.events.broken = True
    refused = await world.token(client, form)
    assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    world.events.broken = False
    assert (await world.token(client, form)).status_code == 200


@ON_EVERY_ENGINE
async def test_nobody_waits_for_the_database_while_an_event_becomes_durable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.user()
    client = await world.client()
    form = world.redemption(client, await world.code(client))
    writing, stored = anyio.Event(), anyio.Event()

    async def write_slowly(event: Event) -> None:
        writing.set()
        await stored.wait()

    monkeypatch.setattr(world.events, "write", write_slowly)
    with anyio.fail_after(60):
        async with asyncio.TaskGroup() as group:
            redemption = group.create_task(world.token(client, form))
            await writing.wait()
            await world.user("bob")
            stored.set()
    assert redemption.result().status_code == 200


@pytest.mark.parametrize("exists", [False, True])
def test_the_database_files_are_their_owners_alone(tmp_path: Path, exists: bool) -> None:
    async def make() -> None:
        async with admin.open_store(str(tmp_path / "auth.db")) as store:
            await admin.add_user(store, "alice", scope="a", cost=CHEAP)
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
            assert modes == dict.fromkeys(("auth.db", "auth.db-wal", "auth.db-shm"), "0o600")

    before = os.umask(0)
    if exists:
        (tmp_path / "auth.db").touch(0o666)
    try:
        asyncio.run(make())
    finally:
        os.umask(before)
