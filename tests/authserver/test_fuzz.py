"""No request makes the server fail, hang or tell a secret, and every refusal has its format (fuzzing.py).

`make test` sends 4,000 requests of fixed seeds, `make fuzz` 20,000 of others every day. A failure shows the request.
"""

import logging
import os

import pytest

from garrison.serving import Endpoint, bind, running
from tests.authserver.federation.provider import EVERYONE, Provider, settings
from tests.authserver.fuzzing import ALL, TEXTS, Fuzzer
from tests.authserver.world import Make

REQUESTS = int(os.environ.get("GARRISON_FUZZ", "4000"))
SEED = int(os.environ.get("GARRISON_FUZZ_SEED", "1"))
PARTS = 4
REACHED = {
    ("/consent", 303),
    ("/token", 200),
    ("/register", 201),
    ("/introspect", 200),
    ("/account/grants", 200),
    ("/account/app", 200),
    ("/account/passkey", 303),
    ("/factor", 303),
    ("/login/callback", 303),
}
POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))


@pytest.mark.no_cover
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(PARTS))
async def test_no_request_makes_the_server_fail_or_tell_a_secret(
    make_world: Make, caplog: pytest.LogCaptureFixture, part: int
) -> None:
    caplog.set_level(logging.ERROR)
    (listener,) = bind("identity provider", "127.0.0.1", 0)
    provider = Provider(f"http://127.0.0.1:{listener.getsockname()[1]}")
    async with running(Endpoint("identity provider", provider.app(), [listener])):
        there = settings(provider.issuer, local_users=True, allow=[EVERYONE])
        world = await make_world(registration=True, identity_provider=there)
        provider.now = world.now
        fuzzer = Fuzzer(world, SEED * PARTS + part, caplog.records)
        fuzzer.provider = provider
        await fuzzer.run(REQUESTS // PARTS, ALL)
    assert {each for each in REACHED if not fuzzer.statuses[each]} == set(), "requests that get nowhere say little"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("database_url", [POSTGRESQL], indirect=True)
async def test_no_text_makes_postgresql_look_like_an_outage(make_world: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It holds less than SQLite does: no NUL, no half of a surrogate pair, no NaN in JSON."""
    caplog.set_level(logging.ERROR)
    fuzzer = Fuzzer(await make_world(registration=True), SEED, caplog.records)
    await fuzzer.run(REQUESTS // 10, TEXTS)
    assert fuzzer.statuses["/register", 201]
    assert fuzzer.statuses["/register", 400]
