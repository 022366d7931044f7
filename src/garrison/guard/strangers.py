"""Those who failed to say who they are: so many a minute from each address, and then they are told to wait.

An address is charged after a request of its failed, never before: whoever bears a good token is served, however many
strangers share the address. Over its budget it waits for a whole minute, in which its requests are counted (quiet.py).
"""

from garrison.base.clock import Clock
from garrison.base.peers import stranger_unit
from garrison.guard.quiet import Quiet, Silence
from garrison.guard.refusal import RateLimited
from garrison.guard.types import Request
from garrison.limits.limiter import MINUTE, Limiter
from garrison.limits.windows import whole_seconds


class Strangers:
    def __init__(self, limiter: Limiter, quiet: Quiet, clock: Clock) -> None:
        self._limiter = limiter
        self._quiet = quiet
        self._clock = clock

    async def check(self, request: Request, *, documents: bool = False) -> None:
        """Charge the address of `request`; the public `documents` have a budget of their own.

        Raises:
            RateLimited: it is over its budget; `recorded` for the first time only, as far as strangers are.
            EventStoreError: the limits' store is out of reach, and that can't be recorded.
        """
        await self._quiet.report_ended()
        unit, kind = stranger_unit(request.address), "documents" if documents else "address"
        silence = self._quiet.of(kind, unit)
        if silence is not None:
            silence.unrecorded += 1
            raise self._refusal(silence, recorded=False)
        if not (await self._limiter.admit_stranger(unit, documents=documents)).allowed:
            silence = self._quiet.begin(kind, unit, address=unit)
            raise self._refusal(silence, recorded=self._quiet.may_record())

    def _refusal(self, silence: Silence, *, recorded: bool) -> RateLimited:
        wait = whole_seconds(silence.until - self._clock())
        limit = self._limiter.strangers.limit
        return RateLimited(
            f"Too many requests from this address; try again in {wait} s.",
            reason=f"an address is over its budget; for {MINUTE} s its requests are counted, not recorded",
            headers={
                "retry-after": str(wait),
                "ratelimit-policy": f'"address";q={limit};w={MINUTE}',
                "ratelimit": f'"address";r=0;t={wait}',
            },
            data={"budget": "address", "limit": limit, "retryAfter": wait},
            recorded=recorded,
        )
