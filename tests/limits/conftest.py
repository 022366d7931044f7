"""Real Redis servers for the tests; and a clock for the memory store."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis

from tests.limits.servers import IN_MEMORY, RedisServer, running, settled, until


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path, *IN_MEMORY)) as server:
        yield server


@pytest.fixture
def redis_sentinel(tmp_path: Path, redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Sentinel that watches `redis_server` by the name of `budgets`."""
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor budgets 127.0.0.1 {redis_server.port} 1\n"
        "sentinel down-after-milliseconds budgets 200\nsentinel failover-timeout budgets 1000\n"
    )
    ready = "+monitor master budgets"
    with running(RedisServer(tmp_path, str(configuration), "--sentinel", ready=ready)) as sentinel:
        yield sentinel


@pytest.fixture
def redis_replica(tmp_path: Path, redis_server: RedisServer) -> Iterator[RedisServer]:
    """What takes the place of `redis_server` when Sentinel says so."""
    folder = tmp_path / "replica"
    folder.mkdir()
    with Redis(port=redis_server.port) as redis:
        redis.config_set("repl-diskless-sync-delay", 0)  # else it waits for further replicas
    options = (*IN_MEMORY, "--replicaof", "127.0.0.1", str(redis_server.port))
    with running(RedisServer(folder, *options)) as replica:
        with Redis(port=replica.port) as redis:
            until(lambda: redis.info("replication")["master_link_status"] == "up")
        yield replica


@pytest.fixture
def redis_cluster(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """A Cluster of two nodes, each with one half of the slots."""
    with ExitStack() as stack:
        nodes: list[RedisServer] = []
        for number, slots in enumerate(("0 8191", "8192 16383")):
            folder = tmp_path / str(number)
            folder.mkdir()
            # The node's own bus port is the port + 10,000 by default, which may be beyond the last one.
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                bus = str(probe.getsockname()[1])
            options = (*IN_MEMORY, "--cluster-enabled", "yes", "--cluster-port", bus)
            node = stack.enter_context(running(RedisServer(folder, *options)))
            with Redis(port=node.port) as redis:
                redis.execute_command("CLUSTER ADDSLOTSRANGE", *slots.split())
                if nodes:
                    redis.execute_command("CLUSTER MEET", "127.0.0.1", str(nodes[0].port), nodes[0].bus)
            node.bus = bus
            nodes.append(node)
        settled(nodes)
        yield nodes


class SteppedTime:
    """The time that the memory store and our arithmetic see; it stands still until it is stepped."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def install(self, patch: pytest.MonkeyPatch) -> None:
        clock = SimpleNamespace(time=self)
        patch.setattr("limits.aio.storage.memory.time", clock)
        patch.setattr("garrison.limits.memory.time", clock)


@pytest.fixture
def stepped_time(monkeypatch: pytest.MonkeyPatch) -> SteppedTime:
    stepped = SteppedTime()
    stepped.install(monkeypatch)
    return stepped
