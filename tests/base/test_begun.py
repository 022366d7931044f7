"""A coroutine that was begun goes on as one that was awaited would."""

import asyncio

import pytest

from garrison.base.begun import Begun


async def test_what_does_not_wait_is_done_at_once() -> None:
    async def at_once() -> int:
        return 7

    begun = Begun(at_once())
    assert begun.done
    assert begun.result == await begun == 7


async def test_what_waits_goes_on_when_it_is_awaited() -> None:
    gate, seen = asyncio.Event(), []

    async def waits() -> str:
        for step in range(3):
            seen.append(step)
            await asyncio.sleep(0)
        await gate.wait()
        return "through"

    begun = Begun(waits())
    assert (begun.done, seen) == (False, [0])
    asyncio.get_running_loop().call_soon(gate.set)
    assert await begun == "through"
    assert seen == [0, 1, 2]


async def test_what_it_raises_comes_out_in_either_part() -> None:
    async def fails(after: int) -> None:
        for _ in range(after):
            await asyncio.sleep(0)
        raise LookupError(after)

    with pytest.raises(LookupError, match="0"):
        Begun(fails(0))
    begun = Begun(fails(2))
    with pytest.raises(LookupError, match="2"):
        await begun


async def test_a_cancellation_or_a_timeout_is_the_coroutines_to_see() -> None:
    seen: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)
            raise

    begun = Begun(waits())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await begun

    async def whole() -> None:
        await Begun(waits())

    task = asyncio.ensure_future(whole())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled", "cancelled"]


async def test_what_answers_a_cancellation_by_going_on_goes_on() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "stayed"

    async def whole() -> str:
        return await Begun(stubborn())

    task = asyncio.ensure_future(whole())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "stayed"


async def test_what_is_given_up_ends_where_it_waits() -> None:
    seen: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    begun = Begun(waits())
    with begun:
        assert seen == []
    assert seen == ["ended"]
