"""redis-server processes of our own, without persistence, on free ports."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from redis import Redis


class RedisServer:
    """A redis-server of our own. `stop` and `start` make an outage; `hang` makes one that accepts and is silent."""

    def __init__(self, folder: Path, *options: str, ready: str = "Ready to accept connections") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.address = f"127.0.0.1:{self.port}"
        self._command = [*options, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder)]
        self._ready = ready
        self.bus = ""
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(["redis-server", *self._command], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert any(self._ready in line for line in self._process.stdout)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)


IN_MEMORY = ("--save", "", "--appendonly", "no")


@contextmanager
def running(server: RedisServer) -> Iterator[RedisServer]:
    try:
        yield server
    finally:
        server.stop()


def settled(cluster: Sequence[RedisServer]) -> None:
    """Returns when every node knows that all slots are served."""
    for node in cluster:
        with Redis(port=node.port) as redis:
            until(partial(_is_whole, redis))


def _is_whole(node: Redis) -> bool:
    return bool(node.cluster("INFO")["cluster_state"] == "ok")


def until(so: Callable[[], bool]) -> None:
    """Returns when `so` is; the servers tell nobody."""
    deadline = time.monotonic() + 20
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
