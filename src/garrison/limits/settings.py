"""How much callers and strangers may use, and where the counts are kept."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from garrison.base.errors import UsageError

_REDIS_URL = re.compile(r"rediss?://.+|unix://.+|redis\+cluster://[^/]+/?|redis\+sentinel://[^/]+/[^/]+")
REDIS_URLS = "redis://host:6379/0, redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/service"


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """The budgets. A principal is one user of one client of one issuer. None is no limit.

    Attributes:
        requests_per_minute: requests of a principal admitted in any 60 seconds; as many again may be denied.
        tokens_per_hour: AI tokens of a principal admitted in an hour, by a sliding window counter.
        tools: calls of a tool in any 60 seconds, per principal, by the tool's name.
        client_requests_per_minute: requests of a client in any 60 seconds, all of its users together.
        stranger_requests_per_minute: requests in any 60 seconds that failed before they were authenticated, per address
            (of IPv6, per /64); as many again for the public documents.
        concurrent_calls: calls of a principal that this process serves at the same time.
        open_streams: streams of notifications that a principal may keep open in this process.
        token_counter: `estimate` costs next to nothing and knows bytes only; `words` looks at words and is within a
            tenth of a real tokenizer on English, code and JSON.
        redis_url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://`; counts are shared by
            all who use the same one. None keeps them in this process. May hold a password, so it is not in the repr.
        on_store_failure: while Redis is down, `local` counts in this process alone, `refuse` refuses every call.
    """

    requests_per_minute: int = 60
    tokens_per_hour: int = 100_000
    tools: Mapping[str, int] = field(default_factory=dict)
    client_requests_per_minute: int | None = None
    stranger_requests_per_minute: int = 120
    concurrent_calls: int = 64
    open_streams: int = 16
    token_counter: Literal["estimate", "words"] = "estimate"  # noqa: S105  no password
    redis_url: str | None = field(default=None, repr=False)
    on_store_failure: Literal["local", "refuse"] = "local"

    def __post_init__(self) -> None:
        limits = {
            "requests_per_minute": self.requests_per_minute,
            "tokens_per_hour": self.tokens_per_hour,
            "client_requests_per_minute": self.client_requests_per_minute,
            "stranger_requests_per_minute": self.stranger_requests_per_minute,
            "concurrent_calls": self.concurrent_calls,
            "open_streams": self.open_streams,
            **{f"tools.{name}": limit for name, limit in self.tools.items()},
        }
        for name, limit in limits.items():
            if limit is not None and limit < 1:
                raise UsageError("A rate limit must be at least 1.", f"Raise {name}.")
        if self.on_store_failure not in ("local", "refuse"):
            raise UsageError("on_store_failure must be `local` or `refuse`.")
        if self.token_counter not in ("estimate", "words"):
            raise UsageError("token_counter must be `estimate` or `words`.")
        if self.redis_url is not None and not _REDIS_URL.fullmatch(self.redis_url):
            raise UsageError("The rate limits' redis_url is not a Redis URL.", REDIS_URLS)
        object.__setattr__(self, "tools", dict(self.tools))
