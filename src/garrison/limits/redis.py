"""Budgets on a store of the `limits` library: one Redis, one behind Sentinel, or a Cluster.

The library opens the store and knows the three kinds. Its own verbs look at one window each, so that a request would
wait for Redis several times and be charged in parts; here a script of ours does all of it in one trip, at Redis's own
time. The keys of one owner lie in one slot of a Cluster. Where a request draws on several owners' budgets there (a
client's beside a principal's), these are asked at the same time; if one of them refuses, the others stay charged: it
errs towards refusing.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

from limits.aio.storage import RedisClusterStorage, RedisSentinelStorage, RedisStorage
from limits.errors import ConfigurationError

from garrison.base.errors import UsageError
from garrison.limits.budgets import Admission, Budget, Charge, admission, refusal
from garrison.limits.settings import REDIS_URLS
from garrison.limits.windows import RequestWindow, TokenWindow, rest_of_window

PREFIX = "garrison"
_SCRIPT = files("garrison.limits").joinpath("charge.lua").read_text(encoding="utf-8")
_CONNECT_TIMEOUT = 1.0
"""Seconds. An answer may take as long as the whole call may: the client's own bound costs a task for each command."""
_CALLS_AT_ONCE = 32
_MAX_CONNECTIONS = 4 * _CALLS_AT_ONCE
"""More than there are calls at once: the client of a Cluster takes further ones to learn where the slots are."""
_MICROSECONDS = 1_000_000


class StoreFailedError(Exception):
    """Redis gave no answer; the text is the name of what its client raised."""


class RedisBudgets:
    """Args: url: as in LimitSettings. It is connected to when it is first used.

    Raises:
        UsageError: `url` is none that the library understands, or the redis package is missing.
    """

    def __init__(self, url: str) -> None:
        storage = _open(url)
        bridge: Any = storage.bridge
        self._client = bridge.get_connection()
        self._sentinels = bridge.sentinel.sentinels if isinstance(storage, RedisSentinelStorage) else ()
        self._script = self._client.register_script(_SCRIPT)
        self._in_slots = isinstance(storage, RedisClusterStorage)
        # Its pools fail at one connection too many, and back off for seconds.
        self._turns = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._ready = False
        self._getting_ready = asyncio.Lock()

    async def admit(self, charges: Sequence[Charge]) -> Admission:
        """Charge all of `charges`, or none and say when they fit."""
        if not self._in_slots:
            return await self._ask(charges)
        owners = [list(group) for _, group in groupby(charges, key=lambda charge: charge[1])]
        answers = await asyncio.gather(*(self._ask(owned) for owned in owners))
        refused = [answer for answer in answers if not answer.allowed]
        return max(refused, key=lambda answer: (answer.never, answer.reset_after)) if refused else answers[0]

    async def settle(self, budget: Budget, who: str, cost: int) -> None:
        """Charge `cost`, or all that is left."""
        await self._run("most", [(budget, who, cost)])

    async def aclose(self) -> None:
        for client in (self._client, *self._sentinels):
            await client.aclose()

    async def _ask(self, charges: Sequence[Charge]) -> Admission:
        charged, micros, *numbers = await self._run("all", charges)
        windows = [
            _window(budget, micros, numbers[2 * place], numbers[2 * place + 1])
            for place, (budget, _, _) in enumerate(charges)
        ]
        if not charged:
            return refusal(charges, windows)
        seen = zip(charges, windows, strict=True)
        return admission(charges, [(window.left - cost, window.reset_after) for (_, _, cost), window in seen])

    async def _run(self, mode: str, charges: Sequence[Charge]) -> list[int]:
        for budget, _, cost in charges:
            mode += f" {'counted' if budget.counted else 'exact'} {budget.limit} {budget.seconds} {cost}"
        async with self._turns:
            try:
                if not self._ready:
                    await self._get_ready()
                answer: bytes = await self._script(keys=_keys(charges), args=[mode])
            except Exception as error:
                self._ready = False
                # Not only RedisError: a Cluster without nodes raises another, and one that changes under the client's
                # feet makes it fail in ways that it doesn't name. Whatever it is, nothing was decided.
                raise StoreFailedError(type(error).__name__) from error
        return [int(number) for number in answer.split()]

    async def _get_ready(self) -> None:
        """One goes first: a Cluster's client closes the others' connections while it learns where the slots are."""
        async with self._getting_ready:
            if not self._ready:
                await self._client.script_load(_SCRIPT)
                self._ready = True


def _keys(charges: Sequence[Charge]) -> list[str]:
    """One key each, in the slot of whose it is, and that doesn't tell Redis who that is."""
    owner, digest, keys = None, "", []
    for budget, who, _ in charges:
        if who != owner:
            owner, digest = who, hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()
        keys.append(f"{PREFIX}:{{{digest}}}:{budget.name}:{budget.of}")
    return keys


def _window(budget: Budget, micros: int, first: int, second: int) -> RequestWindow | TokenWindow:
    """What the script saw."""
    if budget.counted:
        return TokenWindow(
            budget.limit, budget.seconds, first, second, rest_of_window(micros / _MICROSECONDS, budget.seconds)
        )
    return RequestWindow(budget.limit, first, (second - micros) / _MICROSECONDS + budget.seconds)


def _open(url: str) -> RedisStorage:
    try:
        from redis.asyncio.retry import Retry  # noqa: PLC0415  an optional extra
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("Shared rate limits need the redis package.", "pip install 'garrison[redis]'") from error
    patience = {
        "socket_timeout": None,
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        # A connection that Redis closed meanwhile is opened again at once; silence is not waited for twice.
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }
    options: dict[str, Any] = {
        "implementation": "redispy",
        "key_prefix": PREFIX,
        "max_connections": _MAX_CONNECTIONS,
        **patience,
    }
    kind: Callable[..., RedisStorage] = RedisStorage
    if url.startswith("redis+cluster:"):
        kind = RedisClusterStorage
    elif url.startswith("redis+sentinel:"):
        kind = RedisSentinelStorage
        options |= {"use_replicas": False, "sentinel_kwargs": patience}
    try:
        return kind(f"async+{'redis+' if url.startswith('unix:') else ''}{url}", **options)
    except (ValueError, ConfigurationError) as error:
        raise UsageError("The rate limits' redis_url is not a Redis URL.", REDIS_URLS) from error
