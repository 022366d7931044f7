"""The script in Redis: it decides like the budgets in memory, in one trip; on one Redis, by Sentinel, in a Cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from garrison.base.errors import UsageError
from garrison.limits import redis as on_redis
from garrison.limits import shared
from garrison.limits.limiter import Limiter
from garrison.limits.memory import MemoryBudgets
from garrison.limits.redis import RedisBudgets
from garrison.limits.settings import LimitSettings
from tests.limits.servers import RedisServer, settled, until
from tests.limits.test_memory import EDGES, NAMES, PAUSES, REQUESTS, TOKENS, both

if TYPE_CHECKING:
    from tests.limits.conftest import SteppedTime

pytestmark = pytest.mark.needs("redis")


class HeldClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy with other things, a slow Redis is no outage."""
    monkeypatch.setattr(shared, "STORE_TIMEOUT", 60.0)
    monkeypatch.setattr(on_redis, "_CONNECT_TIMEOUT", 60.0)


PATIENT = pytest.mark.usefixtures("patient")


@pytest.fixture
def stepped_script(monkeypatch: pytest.MonkeyPatch, stepped_time: SteppedTime) -> SteppedTime:
    """Redis takes the time that it is told, and forgets nothing by its own clock."""
    script = on_redis._SCRIPT
    assert script.count("redis.call('TIME')") == 1
    script = script.replace("redis.call('TIME')", "redis.call('LRANGE', 'time', 0, 1)").replace("'EXPIRE'", "'PERSIST'")
    script = script.replace(", window.seconds + 1)", ")").replace(", 2 * window.seconds)", ")")
    monkeypatch.setattr(on_redis, "_SCRIPT", script)
    return stepped_time


@PATIENT
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(PAUSES, NAMES, st.integers(1, 110), st.integers(0, 120)), max_size=25))
@example(EDGES)
async def test_every_decision_is_that_of_the_budgets_in_memory(
    stepped_script: SteppedTime, redis_server: RedisServer, steps: list[tuple[float, str, int, int]]
) -> None:
    remote, local = RedisBudgets(redis_server.url), MemoryBudgets([REQUESTS, TOKENS])
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
        for pause, who, tokens, settled in steps:
            # To the microsecond, as Redis has it, and so that its sum of seconds and microseconds is the same float.
            seconds, micros = divmod(round((stepped_script.now + pause) * 1e6), 1_000_000)
            stepped_script.now = seconds + micros / 1_000_000
            redis.delete("time")
            redis.rpush("time", seconds, micros)
            here, there = local.admit(both(who, tokens)), await remote.admit(both(who, tokens))
            assert there[:4] == here[:4]
            assert there.reset_after == pytest.approx(here.reset_after, abs=1e-5)
            assert (there.never, there.tokens_left) == (here.never, here.tokens_left)
            local.settle(TOKENS, who, settled)
            await remote.settle(TOKENS, who, settled)
    await remote.aclose()


@PATIENT
async def test_all_budgets_of_a_request_cost_one_trip(redis_server: RedisServer) -> None:
    limits = LimitSettings(redis_url=redis_server.url, tools={"search": 5}, client_requests_per_minute=5)
    limiter = Limiter(limits)
    await limiter.admit("alice", 1, client="desk", tool="search")
    with Redis.from_url(redis_server.url) as redis:
        before = commands(redis)
        await limiter.admit("alice", 1, client="desk", tool="search")
        await limiter.settle("alice", 10)
        assert commands(redis) - before == 2
    await limiter.aclose()


def commands(redis: Redis) -> int:
    """How often the script ran: what it does inside is no trip."""
    return int(stats(redis, "cmdstat_evalsha").get("calls", 0))


def stats(redis: Redis, name: str) -> dict[str, Any]:
    info: dict[str, Any] = redis.info("commandstats")
    return dict(info.get(name, {}))


@PATIENT
async def test_a_thousand_calls_at_once_from_four_limiters_get_exactly_the_limit(redis_server: RedisServer) -> None:
    limiters = [Limiter(LimitSettings(redis_url=redis_server.url, requests_per_minute=500)) for _ in range(4)]
    answers = await asyncio.gather(*(limiters[number % 4].admit("alice", 1) for number in range(1000)))
    assert sum(answer.allowed for answer in answers) == 500
    for limiter in limiters:
        await limiter.aclose()


@PATIENT
async def test_keys_live_no_longer_than_their_windows_count(redis_server: RedisServer) -> None:
    remote = RedisBudgets(redis_server.url)
    await remote.admit(both("alice", 1))
    with Redis.from_url(redis_server.url) as redis:
        lives = sorted(redis.ttl(key) for key in redis.scan_iter())
    assert 0 < lives[0] <= 61
    assert 3600 < lives[1] <= 7200
    await remote.aclose()


@PATIENT
async def test_a_script_that_redis_forgot_is_brought_again(redis_server: RedisServer) -> None:
    remote = RedisBudgets(redis_server.url)
    await remote.admit(both("alice", 1))
    with Redis.from_url(redis_server.url) as redis:
        redis.script_flush()
    assert (await remote.admit(both("alice", 1))).remaining == REQUESTS.limit - 2
    await remote.aclose()


@PATIENT
async def test_budgets_are_found_by_sentinel(redis_server: RedisServer, redis_sentinel: RedisServer) -> None:
    settings = LimitSettings(redis_url=f"redis+sentinel://{redis_sentinel.address}/budgets", requests_per_minute=5)
    reports: list[str] = []

    async def report(sentence: str) -> None:
        reports.append(sentence)

    limiters = [Limiter(settings, on_failure=report) for _ in range(2)]
    answers = await asyncio.gather(*(limiters[number % 2].admit("alice", 1) for number in range(20)))
    assert sum(answer.allowed for answer in answers) == 5
    assert not reports
    with Redis.from_url(redis_server.url) as redis:
        assert commands(redis) >= 20
    for limiter in limiters:
        await limiter.aclose()


async def test_a_sentinel_that_is_gone_is_an_outage(redis_sentinel: RedisServer) -> None:
    reports: list[str] = []

    async def report(sentence: str) -> None:
        reports.append(sentence)

    url = f"redis+sentinel://{redis_sentinel.address}/budgets"
    redis_sentinel.stop()
    limiter = Limiter(LimitSettings(redis_url=url), on_failure=report)
    assert (await limiter.admit("alice", 1)).remaining == 59
    assert len(reports) == 1
    await limiter.aclose()
    redis_sentinel.start()


@PATIENT
async def test_when_sentinel_puts_a_replica_in_charge_the_counts_go_on_there(
    redis_server: RedisServer, redis_replica: RedisServer, redis_sentinel: RedisServer
) -> None:
    clock = HeldClock()
    limiter = Limiter(LimitSettings(redis_url=f"redis+sentinel://{redis_sentinel.address}/budgets"), clock=clock)
    with Redis(port=redis_sentinel.port) as sentinel, Redis(port=redis_replica.port) as replica:
        until(lambda: len(sentinel.sentinel_slaves("budgets")) == 1)
        assert [(await limiter.admit("alice", 1)).remaining for _ in range(2)] == [59, 58]
        until(lambda: [replica.llen(key) for key in replica.scan_iter("*requests*")] == [2])
        redis_server.stop()
        assert (await limiter.admit("alice", 1)).remaining == 59, "by this process alone"
        until(lambda: sentinel.sentinel_master("budgets")["port"] == redis_replica.port)
        until(lambda: replica.info("replication")["role"] == "master")
    clock.now += 100
    assert (await limiter.admit("alice", 1)).remaining == 57
    await limiter.aclose()


@PATIENT
async def test_budgets_in_a_cluster_are_exact_for_principals_of_every_slot(redis_cluster: list[RedisServer]) -> None:
    url = "redis+cluster://" + ",".join(node.address for node in redis_cluster)
    limiters = [Limiter(LimitSettings(redis_url=url, requests_per_minute=5)) for _ in range(2)]
    names = [str(number) for number in range(8)]
    answers = await asyncio.gather(*(limiters[turn % 2].admit(name, 1) for turn in range(20) for name in names))
    assert sum(answer.allowed for answer in answers) == 5 * len(names)
    for node in redis_cluster:
        with Redis.from_url(node.url) as redis:
            assert redis.dbsize() > 0
    for limiter in limiters:
        await limiter.aclose()


@PATIENT
async def test_in_a_cluster_the_budget_of_a_client_is_asked_beside_that_of_its_users(
    redis_cluster: list[RedisServer],
) -> None:
    url = f"redis+cluster://{redis_cluster[0].address}"
    limiters = [Limiter(LimitSettings(redis_url=url, client_requests_per_minute=3)) for _ in range(2)]
    answers = [await limiters[number % 2].admit(str(number), 1, client="desk") for number in range(6)]
    assert [answer.allowed for answer in answers] == [True] * 3 + [False] * 3
    assert answers[-1].budget == "client"
    for limiter in limiters:
        await limiter.aclose()


@PATIENT
async def test_a_node_of_the_cluster_that_is_gone_is_an_outage_and_its_return_ends_it(
    redis_cluster: list[RedisServer],
) -> None:
    reports: list[str] = []
    clock = HeldClock()

    async def report(sentence: str) -> None:
        reports.append(sentence)

    url = "redis+cluster://" + ",".join(node.address for node in redis_cluster)
    limiter = Limiter(LimitSettings(redis_url=url), clock=clock, on_failure=report)
    names = [str(number) for number in range(8)]
    for name in names:
        await limiter.admit(name, 1)
    for node in redis_cluster:
        node.stop()
    assert [(await limiter.admit(name, 1)).remaining for name in names] == [59] * 8
    assert len(reports) == 1
    for node in redis_cluster:
        node.start()
    settled(redis_cluster)
    clock.now += 100
    assert [(await limiter.admit(name, 1)).remaining for name in names] == [59] * 8, "the nodes forgot, being in memory"
    assert [(await limiter.admit(name, 1)).remaining for name in names] == [58] * 8
    assert len(reports) == 1
    await limiter.aclose()


async def test_in_a_cluster_too_an_answer_that_came_too_late_is_nobodys(redis_cluster: list[RedisServer]) -> None:
    clock = HeldClock()
    url = "redis+cluster://" + ",".join(node.address for node in redis_cluster)
    limiter = Limiter(LimitSettings(redis_url=url, requests_per_minute=3), clock=clock)
    for _ in range(3):
        await limiter.admit("alice", 1)
    for node in redis_cluster:
        node.hang()
    await asyncio.gather(*(limiter.admit("alice", 1) for _ in range(8)))
    for node in redis_cluster:
        node.resume()
    settled(redis_cluster)
    clock.now += 100
    answers = [await limiter.admit(str(number), 1) for number in range(20)]
    assert [answer.remaining for answer in answers] == [2] * 20, "none of alice's refusals"
    await limiter.aclose()


def test_what_is_no_redis_url_is_refused_without_telling_its_password() -> None:
    for url in ("redis+sentinel://user:secret@host:1", "redis://:secret@host:port", "http://:secret@host"):
        with pytest.raises(UsageError) as caught:
            Limiter(LimitSettings(redis_url=url))
        assert "secret" not in f"{caught.value} {caught.value.hint}"
