"""What is left when a process is killed in the middle, the database goes away, or the clock is set back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest

from garrison.authserver.admin import NewClient
from tests.authserver.killed import POINTS
from tests.authserver.test_refresh import start
from tests.authserver.world import ON_EVERY_ENGINE, World
from tests.postgresql import PostgreSQL

ROOT = Path(__file__).parents[2]
UNDONE = frozenset({"before the record", "after the record", "before the commit"})


async def killed(world: World, client: NewClient, forms: dict[str, dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Sends each form in a process that is killed at its point; returns what the client was told, by point."""
    credentials = {"client_id": client.client_id, "client_secret": client.client_secret}
    jobs = [json.dumps({"point": point, "form": form, **credentials}) for point, form in forms.items()]
    command = [sys.executable, "-m", "tests.authserver.killed", world.settings.database_url]

    def run() -> str:
        done = subprocess.run(
            command, input="\n".join(jobs), cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    answers = [json.loads(line) for line in (await anyio.to_thread.run_sync(run)).splitlines()]
    return {answer["point"]: answer for answer in answers}


@pytest.mark.no_cover
@ON_EVERY_ENGINE
async def test_a_process_that_is_killed_while_it_redeems_a_code_loses_nothing_and_spends_nothing_twice(
    world: World,
) -> None:
    await world.user()
    client = await world.client()
    forms = {point: world.redemption(client, await world.code(client)) for point in POINTS}
    told = await killed(world, client, forms)
    assert list(told) == ["after the answer"], "nobody is told of a token that may not be there"
    assert told["after the answer"]["status"] == 200
    assert (await world.refresh(client, told["after the answer"]["refresh_token"])).status_code == 200
    for point, form in forms.items():
        again = [(await world.token(client, form)).status_code for _ in range(2)]
        assert again == ([200, 400] if point in UNDONE else [400, 400]), point


@pytest.mark.no_cover
@ON_EVERY_ENGINE
async def test_a_process_that_is_killed_while_it_refreshes_leaves_the_client_one_way_on(world: World) -> None:
    await world.user()
    client = await world.client()
    tokens = {point: (await world.tokens(client))["refresh_token"] for point in POINTS}
    forms = {point: {"grant_type": "refresh_token", "refresh_token": token} for point, token in tokens.items()}
    told = await killed(world, client, forms)
    assert list(told) == ["after the answer"]
    for point, token in tokens.items():
        retried = await world.refresh(client, token)
        assert retried.status_code == 200, f"killed {point}, the client must be able to ask again"
        successor = retried.json()["refresh_token"]
        if point in told:
            assert successor == told[point]["refresh_token"], "the client has the one that it was told"
        assert (await world.refresh(client, successor)).status_code == 200
        assert (await world.refresh(client, token)).json()["error"] == "invalid_grant", point


@pytest.mark.no_cover
@pytest.mark.needs("postgresql")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_while_postgresql_is_gone_everything_is_503_and_afterwards_all_is_as_it_was(
    world: World, postgresql: PostgreSQL
) -> None:
    client, token = await start(world)
    code = world.redemption(client, await world.code(client))
    refresh = {"grant_type": "refresh_token", "refresh_token": token}
    await anyio.to_thread.run_sync(postgresql.stop)
    try:
        refused: list[httpx2.Response] = []
        for form in (code, refresh, {"grant_type": "client_credentials"}):
            refused += [await world.token(client, form) for _ in range(2)]
        async with world.browser() as browser:
            refused.append(await browser.get("/authorize", params=world.authorization(client)))
            refused.append(await browser.get("/healthz"))
            refused.append(await browser.post("/revoke", data={"token": token}, auth=(client.client_id, "x")))
            assert (await browser.get("/jwks")).status_code == 200, "resources can still judge tokens"
    finally:
        await anyio.to_thread.run_sync(postgresql.start)
    for response in refused:
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert "access_token" not in response.text
    assert (await world.token(client, code)).status_code == 200
    assert (await world.token(client, refresh)).status_code == 200
    await anyio.to_thread.run_sync(postgresql.stop)
    await anyio.to_thread.run_sync(postgresql.start)
    response = await world.token(client, {"grant_type": "client_credentials"})
    assert response.status_code == 200, "a connection that died meanwhile costs nobody an answer"


@ON_EVERY_ENGINE
async def test_a_clock_that_is_set_back_revives_no_code_and_no_token(world: World) -> None:
    client, token = await start(world)
    form = world.redemption(client, await world.code(client))
    assert (await world.token(client, form)).status_code == 200
    successor = (await world.refresh(client, token)).json()["refresh_token"]
    assert (await world.refresh(client, successor)).status_code == 200
    world.time -= 7200
    assert (await world.token(client, form)).json()["error"] == "invalid_grant"
    assert (await world.refresh(client, token)).json()["error"] == "invalid_grant"
    assert (await world.refresh(client, successor)).json()["error"] == "invalid_grant"
