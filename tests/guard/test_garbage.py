"""A call leaves nothing for the garbage collector, which would come more often for it and keep everybody waiting."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.guard.world import World, modern


@contextmanager
def kept_garbage() -> Iterator[list[object]]:
    """What only the garbage collector frees of all that comes to be meanwhile."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    found: list[object] = []
    try:
        yield found
        gc.collect()
        found.extend(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    ("method", "params"),
    [("tools/call", {"name": "get_customer_info", "arguments": {"customer_id": "ABC123"}}), ("tools/list", {})],
)
async def test_a_call_leaves_no_garbage(world: World, method: str, params: dict[str, object]) -> None:
    async with world.client() as client:
        assert (await client.post("/mcp", **modern(method, params))).status_code == 200
        with kept_garbage() as found:
            await client.post("/mcp", **modern(method, params))
    assert [one for one in found if type(one).__module__.startswith("garrison.")] == []
