"""How much a principal may use, and where the counts are kept."""

from dataclasses import dataclass, field
from typing import Literal

from garrison.base.errors import UsageError


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """The budgets of one principal.

    Attributes:
        requests_per_minute: requests admitted in any 60 seconds.
        tokens_per_hour: AI tokens admitted in an hour, by a sliding window counter.
        redis_url: `redis://`, `rediss://` or `unix://`; counts are shared by all who use the same one. None keeps them
            in this process. May hold a password, so it is not in the repr.
        on_store_failure: while Redis is down, `local` counts in this process alone, `refuse` refuses every call.
    """

    requests_per_minute: int = 60
    tokens_per_hour: int = 100_000
    redis_url: str | None = field(default=None, repr=False)
    on_store_failure: Literal["local", "refuse"] = "local"

    def __post_init__(self) -> None:
        if self.requests_per_minute < 1 or self.tokens_per_hour < 1:
            raise UsageError("A rate limit must be at least 1.", "Raise requests_per_minute or tokens_per_hour.")
        if self.on_store_failure not in ("local", "refuse"):
            raise UsageError("on_store_failure must be `local` or `refuse`.")
