"""No request makes the server fail, hang or tell a secret, and every refusal has its format (fuzzing.py).

`make test` sends 4,000 requests of fixed seeds, `make fuzz` 20,000 of others every day. A failure shows the request.
"""

import logging
import os

import pytest

from tests.authserver.fuzzing import Fuzzer
from tests.authserver.world import Make

REQUESTS = int(os.environ.get("GARRISON_FUZZ", "4000"))
SEED = int(os.environ.get("GARRISON_FUZZ_SEED", "1"))
PARTS = 4


@pytest.mark.no_cover
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(PARTS))
async def test_no_request_makes_the_server_fail_or_tell_a_secret(
    make_world: Make, caplog: pytest.LogCaptureFixture, part: int
) -> None:
    caplog.set_level(logging.ERROR)
    world = await make_world(registration=True)
    fuzzer = Fuzzer(world, SEED * PARTS + part, caplog.records)
    await fuzzer.run(REQUESTS // PARTS)
    reached = [("/consent", 303), ("/token", 200), ("/register", 201), ("/introspect", 200), ("/account/grants", 200)]
    assert all(fuzzer.statuses[each] for each in reached), "requests that get nowhere say little"
