"""Places that askers take in turn: nobody's many keep another's one waiting, and nothing is left of who has gone."""

import asyncio

import anyio

from garrison.guard.turns import Turns
from tests.guard.world import others_have_run


async def wait_for(turns: Turns, asker: str, served: list[str]) -> None:
    await turns.acquire(asker)
    served.append(asker)


async def test_who_comes_last_with_one_is_served_before_the_second_of_who_came_first() -> None:
    turns, served = Turns(1, 1), list[str]()
    await turns.acquire("first")
    async with anyio.create_task_group() as tasks:
        for asker in ("many", "many", "many", "other", "one"):
            tasks.start_soon(wait_for, turns, asker, served)
        await others_have_run()
        for releases in ("first", "many", "other", "one", "many"):
            turns.release(releases)
            await others_have_run()
    assert served == ["many", "other", "one", "many", "many"]
    turns.release("many")
    assert len(turns) == 0


async def test_nobody_has_more_than_a_part_and_the_rest_stays_free_for_others() -> None:
    turns, served = Turns(3, 2), list[str]()
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(wait_for, turns, "many", served)
        await others_have_run()
        assert served == ["many"] * 2
        await wait_for(turns, "one", served)
        turns.release("one")
        await others_have_run()
        assert served == ["many", "many", "one"]
        for _ in range(2):
            turns.release("many")
    assert served == ["many", "many", "one", "many", "many"]


async def test_who_gives_up_waiting_keeps_no_place_and_no_turn() -> None:
    turns, served = Turns(1, 1), list[str]()
    await turns.acquire("first")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for, turns, "gone", served)
        await others_have_run()
        tasks.cancel_scope.cancel()
    turns.release("first")
    assert (len(turns), served) == (0, [])


async def test_a_place_that_was_handed_to_one_who_goes_away_at_that_moment_goes_on() -> None:
    turns, served = Turns(1, 1), list[str]()
    await turns.acquire("first")
    goes_away = asyncio.create_task(wait_for(turns, "gone", served))
    await others_have_run()
    turns.release("first")
    goes_away.cancel()
    await asyncio.wait([goes_away])
    with anyio.fail_after(60):
        await wait_for(turns, "next", served)
    assert served == ["next"]
    turns.release("next")
    assert len(turns) == 0
