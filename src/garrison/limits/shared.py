"""Budgets that several processes share in Redis, and what happens while it can't be reached.

An outage is reported once. While it lasts no call waits for Redis, but for one probe at a time, at growing intervals;
the first probe that works ends it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from limits.aio.storage import RedisStorage
from limits.errors import StorageError

from garrison.base.clock import Clock
from garrison.base.errors import UsageError
from garrison.limits.budgets import Budgets
from garrison.limits.settings import LimitSettings

T = TypeVar("T")

STORE_TIMEOUT = 3.0
"""Seconds a call may wait for Redis, all in all; in a burst most of it goes by in waiting for a free connection."""
_STEP_TIMEOUT = 1.0
"""Seconds for connecting, and for each answer."""
_MAX_CONNECTIONS = 32
_FIRST_PROBE, _LAST_PROBE = 1.0, 15.0
"""Seconds between probes: the first, doubling up to the last."""


class StoreDownError(Exception):
    """Redis can't be asked now; `retry_in` seconds until the next probe."""

    def __init__(self, retry_in: float) -> None:
        super().__init__("the shared store of the rate limits is down")
        self.retry_in = retry_in


class SharedBudgets:
    def __init__(
        self, url: str, settings: LimitSettings, clock: Clock, on_failure: Callable[[str], Awaitable[None]] | None
    ) -> None:
        storage, self._disconnect = _open(url)
        self._budgets = Budgets(storage, settings)
        self._clock = clock
        self._on_failure = on_failure
        self._down = self._reported = False
        self._interval = _FIRST_PROBE
        self._probe_at = 0.0

    async def run(self, act: Callable[[Budgets], Awaitable[T]]) -> T:
        """What `act` returns on the shared budgets.

        Raises:
            StoreDownError: Redis failed, or failed lately and isn't probed yet.
        """
        probing = self._down
        if probing:
            self._take_probe()
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                result = await act(self._budgets)
        except (StorageError, OSError) as error:  # builtin TimeoutError is an OSError
            await self._failed(error, probing=probing)
            raise StoreDownError(max(0.0, self._probe_at - self._clock())) from error
        if probing:
            self._down = self._reported = False
            self._interval = _FIRST_PROBE
        return result

    async def aclose(self) -> None:
        await self._disconnect()

    def _take_probe(self) -> None:
        """Let this call be the probe if one is due; the others don't wait for its outcome."""
        now = self._clock()
        if now < self._probe_at:
            raise StoreDownError(self._probe_at - now)
        self._interval = min(self._interval * 2, _LAST_PROBE)
        self._probe_at = now + self._interval

    async def _failed(self, error: Exception, *, probing: bool) -> None:
        if not (self._down or probing):
            self._down = True
            self._probe_at = self._clock() + self._interval
        if self._reported or self._on_failure is None:
            return
        self._reported = True
        try:
            cause = error.storage_error if isinstance(error, StorageError) else error
            await self._on_failure(f"The rate limits' Redis can't be used: {type(cause).__name__}.")
        except BaseException:
            self._reported = False  # who couldn't store the report must hear of it again
            raise


def _open(url: str) -> tuple[RedisStorage, Callable[[], Awaitable[None]]]:
    """A store on Redis that connects when first used, and the verb that closes its connections.

    The pool is ours because redis-py's own fails at its 101st concurrent call and backs off for seconds.
    """
    try:
        from redis.asyncio import BlockingConnectionPool  # noqa: PLC0415  an optional extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("Shared rate limits need the redis package.", "pip install 'garrison[redis]'") from error
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=STORE_TIMEOUT,
            socket_timeout=_STEP_TIMEOUT,
            socket_connect_timeout=_STEP_TIMEOUT,
            # A connection that Redis closed meanwhile is opened again at once; silence is not waited for twice.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
    except ValueError as error:
        raise UsageError("The rate limits' redis_url is not a Redis URL.", "redis://host:6379/0") from error
    storage = RedisStorage(
        "async+redis://",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix="garrison",
        connection_pool=pool,  # type: ignore[arg-type]  # the library hands it to redis-py as it is
    )
    return storage, pool.aclose
