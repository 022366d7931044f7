"""What budgets cost: CPU in memory, how it and the memory grow with callers, and the wait for a Redis on loopback.

    python bench/budgets.py [CALLS] [CALLERS]

CALLS go to Redis from four processes against one principal whose limit is half of them, which must be admitted to the
call; CALLERS, principals and strangers each, are kept in memory. Redis runs on this machine, started and ended here.
"""

import asyncio
import contextlib
import multiprocessing
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings

CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
CALLERS = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000  # noqa: PLR2004 - the second argument
PROCESSES = 4
PLENTY = 1_000_000_000
KIB = 1024


def principal(number: int) -> str:
    """Of the length that the guard's have."""
    return f"{number:064x}"


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


async def admit_and_settle(limiter: Limiter, callers: range, calls: int) -> tuple[float, float]:
    """Microseconds of CPU for each."""
    names = [principal(number) for number in callers]
    begun = time.process_time()
    for number in range(calls):
        await limiter.admit(names[number % len(names)], 20)
    admitted = time.process_time()
    for number in range(calls):
        await limiter.settle(names[number % len(names)], 100)
    return (admitted - begun) / calls * 1e6, (time.process_time() - admitted) / calls * 1e6


async def in_memory() -> None:
    limiter = Limiter(LimitSettings(tokens_per_hour=PLENTY))
    await admit_and_settle(limiter, range(1000), 10_000)
    admit, settle = await admit_and_settle(limiter, range(1000), 50_000)
    print(f"in memory, 1,000 callers: admit {admit:.1f} µs, settle {settle:.1f} µs")


async def many_callers() -> None:
    """How the cost of a call and the size of the process change when everybody comes."""
    limiter = Limiter(LimitSettings(tokens_per_hour=PLENTY))
    few, _ = await admit_and_settle(limiter, range(1000), 50_000)
    before, slowest = resident(), 0.0
    for number in range(CALLERS):
        begun = time.process_time()
        await limiter.admit(principal(number), 20)
        slowest = max(slowest, time.process_time() - begun)
    principals = resident()
    for number in range(CALLERS):
        await limiter.admit_stranger(f"198.18.{number >> 8 & 255}.{number & 255}/{number >> 16}")
    strangers = resident()
    many, _ = await admit_and_settle(limiter, range(CALLERS // 2, CALLERS // 2 + 1000), 50_000)
    print(f"admit: {few:.1f} µs with 1,000 callers, {many:.1f} µs with {CALLERS:,} and as many strangers")
    print(f"slowest of {CALLERS:,} newcomers: {slowest * 1e3:.1f} ms of CPU (a table grows)")
    print(f"resident: {before / KIB**2:.0f} MiB before, {strangers / KIB**2:.0f} MiB after")
    print(f"          {(principals - before) / CALLERS:.0f} bytes a principal with its name")
    print(f"          {(strangers - principals) / CALLERS:.0f} bytes a stranger with its address")


@contextlib.contextmanager
def redis() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - as it stands above
        try:
            if server.stdout is None or not any("Ready to accept" in line for line in server.stdout):
                raise SystemExit("redis-server did not start")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


def replica(url: str, calls: int, limit: int) -> tuple[int, list[float]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as garrison serves
        return runner.run(_replica(url, calls, limit))


async def _replica(url: str, calls: int, limit: int) -> tuple[int, list[float]]:
    limiter = Limiter(LimitSettings(requests_per_minute=limit, tokens_per_hour=limit, redis_url=url))
    admitted, waits = 0, []
    for _ in range(calls):
        begun = time.perf_counter()
        admission = await limiter.admit("everybody", 1)
        waits.append(time.perf_counter() - begun)
        admitted += admission.allowed
    await limiter.aclose()
    return admitted, waits


def by_redis(processes: int, calls: int) -> None:
    """Each call costs a request and a token: on a slow machine the minute lets room come back, the hour doesn't."""
    limit = calls // 2
    with redis() as url, multiprocessing.get_context("spawn").Pool(processes) as pool:
        begun = time.perf_counter()
        parts = pool.starmap(replica, [(url, calls // processes, limit)] * processes)
        seconds = time.perf_counter() - begun
    admitted = sum(part[0] for part in parts)
    waits = sorted(wait for part in parts for wait in part[1])
    p50, p99 = statistics.median(waits) * 1e3, waits[int(len(waits) * 0.99)] * 1e3
    print(f"Redis, {processes} process(es): admitted {admitted:,} of {calls:,}, limit {limit:,}, in {seconds:.0f} s")
    print(f"          admit waits p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def main() -> None:
    asyncio.run(in_memory())
    asyncio.run(many_callers())
    by_redis(1, min(CALLS, 10_000))
    by_redis(PROCESSES, CALLS)


if __name__ == "__main__":
    main()
