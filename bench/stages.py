"""Where the guard's microseconds go: CPU of each stage, taken where it works, between one call of FastMCP and the next.

There, each stage finds the processor's caches full of FastMCP, and costs two to three times what it costs in a loop of
its own; so the same stages are shown around an app that does nothing, too. What measures costs about a microsecond a
stage itself.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.guard import PLENTY, RESOURCE, SCHEMAS, adder, alive, call, issuer, request, served, token_for
from starlette.types import ASGIApp, Receive, Scope, Send

from garrison import LimitSettings, Policy, needs
from garrison.base.files import make_private_folder
from garrison.guard.guard import Guard
from garrison.home import Home
from garrison.monitor.store import EventStore
from garrison.oauth import jwks
from garrison.protection import guarded

Costs = dict[str, float]
WARM_UP = 200
CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 1500


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers at once."""
    if scope["type"] == "lifespan":
        for part in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{part}.complete"})
        return
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"jsonrpc":"2.0","id":1,"result":{}}'})


class Stopwatch:
    """Adds up, per call, what the stages of a guard cost."""

    def __init__(self) -> None:
        self.now: Costs = defaultdict(float)
        self.calls: list[Costs] = []

    def next_call(self) -> None:
        self.calls.append(dict(self.now))
        self.now.clear()

    def sync(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            begun = time.thread_time_ns()
            try:
                return work(*given, **named)
            finally:
                self.now[stage] += time.thread_time_ns() - begun

        return timed

    def awaited(self, stage: str, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def timed(*given: Any, **named: Any) -> Any:
            begun = time.thread_time_ns()
            try:
                return await work(*given, **named)
            finally:
                self.now[stage] += time.thread_time_ns() - begun

        return timed

    def median(self, stage: str) -> float:
        """Microseconds."""
        return statistics.median(each.get(stage, 0.0) for each in self.calls) / 1000


STAGES = ("origin", "authenticate", "message", "authorize", "limit", "validate", "audit", "forward", "the app")
PARTS = {
    "_origin.check_host": "origin",
    "_metadata.answer": "origin",
    "_origin.check": "origin",
    "_authenticate": "authenticate",
    "_sessions.unbind": "authenticate",
    "_gate.expect": "limit",
    "_messages.read": "message",
    "_messages.parse": "message",
    "_states.unbind": "message",
    "_authorizer.check": "authorize",
    "_gate.admit": "limit",
    "_gate.headers": "limit",
    "_gate.settle": "limit",
    "_gate.leave": "limit",
    "_validate.check": "validate",
    "_audit.allowed": "audit",
    "_audit.finished": "audit",
    "_identity.forwarded": "forward",
    "_app": "the app",
}
"""Parts of a guard, and the stages that they are; what the star does between them is in none."""
AWAITED = {"_authenticate", "_messages.read", "_gate.admit", "_gate.settle", "_audit.allowed", "_app"}


def watch_parts(guard: Guard, watch: Stopwatch) -> None:
    for path, stage in PARTS.items():
        *owners, name = path.split(".")
        owner: Any = guard
        for each in owners:
            owner = getattr(owner, each)
        timed = watch.awaited if path in AWAITED else watch.sync
        setattr(owner, name, timed(stage, getattr(owner, name)))


async def measured(app: ASGIApp, url: str, token: str, home: Path) -> Stopwatch:
    limits = LimitSettings(requests_per_minute=PLENTY, tokens_per_hour=PLENTY)
    policy = Policy(tools={"add": needs("math:use")})
    place, watch = Home(home), Stopwatch()
    make_private_folder(home)
    place.make_secret()
    async with (
        EventStore(place.events) as events,
        guarded(app, policy, SCHEMAS, resource=RESOURCE, issuer=url, events=events, home=place, limits=limits) as guard,
    ):
        scope, body = request(token)
        watch_parts(guard, watch)
        async with alive(guard):
            for _ in range(WARM_UP):
                await call(guard, scope, body)
            watch.now.clear()
            for _ in range(CALLS):
                await call(guard, scope, body)
                watch.next_call()
    return watch


async def main() -> None:
    key = jwks.new_signing_key("RS256")
    async with issuer(key) as url:
        token = token_for(key, url)
        with tempfile.TemporaryDirectory() as folder:
            around_fastmcp = await measured(served(adder()), url, token, Path(folder) / "fastmcp")
            alone = await measured(nothing, url, token, Path(folder) / "nothing")
    print(f"{'µs of CPU a call':16}{'around FastMCP':>16}{'around nothing':>16}   (medians of {CALLS} calls)")
    for stage in STAGES:
        print(f"{stage:16}{around_fastmcp.median(stage):16.1f}{alone.median(stage):16.1f}")
    sums = [sum(watch.median(stage) for stage in STAGES if stage != "the app") for watch in (around_fastmcp, alone)]
    print(f"{'all but the app':16}{sums[0]:16.1f}{sums[1]:16.1f}")


if __name__ == "__main__":
    asyncio.run(main())
