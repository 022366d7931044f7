"""Signing happens in threads, and whoever waits gets what became of it."""

import asyncio
import threading

import pytest

from garrison.authserver.signer import Signer


async def test_work_is_done_off_the_event_loop_and_answered_to_whom_it_is_for() -> None:
    signer = Signer()
    signer.start()
    names = await asyncio.gather(*(signer.sign(lambda: threading.current_thread().name) for _ in range(20)))
    numbers = await asyncio.gather(*(signer.sign(lambda n=n: str(n)) for n in range(100)))  # type: ignore[misc]
    await signer.stop()
    assert set(names) == {"signer"}
    assert numbers == [str(number) for number in range(100)]


async def test_what_fails_is_raised_where_it_was_asked_for_and_the_thread_goes_on() -> None:
    def broken() -> str:
        raise ValueError("no key")

    signer = Signer(threads=1)
    signer.start()
    with pytest.raises(ValueError, match="no key"):
        await signer.sign(broken)
    assert await signer.sign(lambda: "signed") == "signed"
    await signer.stop()


async def test_one_who_stops_waiting_disturbs_nobody_else() -> None:
    gate = threading.Event()

    def slow() -> str:
        gate.wait()
        return "late"

    signer = Signer(threads=1)
    signer.start()
    gone = asyncio.ensure_future(signer.sign(slow))
    stays = asyncio.ensure_future(signer.sign(lambda: "signed"))
    await asyncio.sleep(0)
    gone.cancel()
    gate.set()
    assert await stays == "signed"
    await signer.stop()
    assert gone.cancelled()


async def test_it_signs_nothing_before_it_was_started() -> None:
    with pytest.raises(RuntimeError):
        await Signer().sign(lambda: "signed")
