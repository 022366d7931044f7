"""RFC 6585 §4 and draft-ietf-httpapi-ratelimit-headers: each request is charged to its principal's budgets.

One that was denied is charged to a budget of such requests instead, so that a flood of them ends. One that failed
before it was authenticated is charged to its address (strangers.py).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

import msgspec

from garrison.base.clock import Clock
from garrison.base.errors import EventStoreError
from garrison.base.events import EventSink
from garrison.guard import answered
from garrison.guard.quiet import Quiet
from garrison.guard.refusal import RateLimited, Refusal, Unavailable
from garrison.guard.strangers import Strangers
from garrison.guard.types import Call, Caller, Message, Request, Shape
from garrison.limits.limiter import HOUR, MINUTE, Admission, Limiter, StoreDownError
from garrison.limits.slots import Slots
from garrison.limits.windows import whole_seconds

_CONTENT = ("arguments", "inputResponses")
"""What of a message a model wrote: the rest is protocol."""
_written = msgspec.json.Encoder().encode
_TOOL_CALL = "tools/call"
_LISTEN = "subscriptions/listen"
MAX_WASTED = 1 << 24
"""Bytes of a caller's bodies in a minute that are read though they are then refused for a budget."""
RETRY_AFTER = 5
"""Seconds after which an outage that can't even be recorded is worth another try."""
SLOT_RETRY_AFTER = 1
"""Seconds: nobody knows when one of the caller's own calls ends."""

_log = logging.getLogger(__name__)


class Gate:
    """What a request may cost, before it and after it; `leave` must follow every `admit`, whatever came of it."""

    def __init__(self, limiter: Limiter, events: EventSink, clock: Clock) -> None:
        self._limiter = limiter
        self._clock = clock
        self._quiet = Quiet(events, clock)
        self._strangers = Strangers(limiter, self._quiet, clock)
        requests, tokens = limiter.requests.limit, limiter.tokens.limit
        self._policy = (
            b"ratelimit-policy",
            f'"requests";q={requests};w={MINUTE}, "tokens";q={tokens};w={HOUR}'.encode(),
        )

    async def admit(self, call: Call, caller: Caller) -> None:
        """Charges the request, with its message if it has one.

        Raises:
            RateLimited: one of the caller's budgets doesn't bear it.
            Unavailable: the limiter can't reach its store, and may not count by itself or can't record that.
        """
        limiter, message = self._limiter, call.message
        # A stream of notifications lasts as long as its connection, so it has a cap apart from the calls.
        listens = message.method == _LISTEN if message else call.request.method == "GET"
        slots = limiter.streams if listens else limiter.calls
        if not slots.take(caller.principal):
            raise _full(slots, "streams" if listens else "calls")
        call.slots = slots
        try:
            admission = await limiter.admit(
                caller.principal,
                self._tokens(message) if message else 0,
                client=f"{caller.token.issuer}\n{caller.token.client_id}",
                tool=message.params["name"] if message and message.method == _TOOL_CALL else "",
            )
        except EventStoreError as error:
            raise Unavailable("Budgets can't be looked up.", reason=str(error), retry_after=RETRY_AFTER) from error
        except StoreDownError as down:  # no budget is used up, and none may be said to be
            wait = whole_seconds(down.retry_in)
            raise Unavailable("Budgets can't be looked up.", reason=str(down), retry_after=wait) from down
        if not admission.allowed:
            raise _refusal(admission)
        call.admission = admission

    def expect(self, caller: Caller) -> None:
        """Before a body is read: what is refused for a budget is read for nothing, so there is an end to that.

        Raises:
            RateLimited: since the caller was told to wait, `MAX_WASTED` bytes of its were read; for the minute's rest.
        """
        silence = self._quiet.of("caller", caller.principal)
        if silence is None or silence.wasted < MAX_WASTED:
            return
        wait = silence.until - self._clock()
        if 0 < wait <= MINUTE:
            limit = self._limiter.requests.limit
            raise _refusal(Admission(False, "refused", limit, 0, wait, whole_seconds(wait)))

    @contextmanager
    def reading(self, caller: Caller) -> Iterator[None]:
        """A place for a body that is waited for: until it is whole, nobody knows what else it will be charged to.

        Raises:
            RateLimited: too many of the caller's are being read.
        """
        bodies = self._limiter.bodies
        if not bodies.take(caller.principal):
            raise _full(bodies, "bodies")
        try:
            yield
        finally:
            bodies.give(caller.principal)

    def leave(self, call: Call) -> None:
        """Gives back what `admit` took for as long as the call lasts."""
        if call.slots is not None and call.caller is not None:
            call.slots.give(call.caller.principal)
            call.slots = None

    def answered(self, part: bytes) -> int:
        """AI tokens of a part of an answer's body."""
        return answered.tokens(part, self._limiter.count)

    async def settle(self, caller: Caller, tokens: int) -> None:
        """Charges what the answer cost; it is on its way, so nothing is left to refuse."""
        try:
            await self._limiter.settle(caller.principal, tokens)
        except EventStoreError:
            _log.exception("an outage of the limits' store could not be recorded")

    def headers(self, call: Call) -> list[tuple[bytes, bytes]]:
        """What the budgets leave to the caller, for an answer to a call that was admitted."""
        admission = call.admission
        if admission is None:
            return []
        rest = f'"requests";r={admission.remaining};t={ceil(admission.reset_after)}, "tokens";r={admission.tokens_left}'
        return [self._policy, (b"ratelimit", rest.encode())]

    async def check_document(self, request: Request) -> None:
        """The public documents need no token, but they are not for floods. Raises `RateLimited`."""
        try:
            await self._strangers.check(request, documents=True)
        except EventStoreError as error:
            raise Unavailable("Budgets can't be looked up.", reason=str(error), retry_after=RETRY_AFTER) from error

    async def answer(self, call: Call, refusal: Refusal) -> Refusal:
        """`refusal`, or that of a caller or an address that had too many of its kind; and whether it is recorded."""
        if call.caller is not None:
            if call.admission is None and not isinstance(refusal, RateLimited):
                refusal = await self._charge_refused(call.caller, refusal)
            if isinstance(refusal, RateLimited):
                refusal.recorded = await self._is_first(call.caller, call.read)
            return refusal
        if isinstance(refusal, RateLimited):
            return refusal
        try:
            await self._strangers.check(call.request)
        except RateLimited as limited:
            return limited
        except EventStoreError:
            _log.exception("an outage of the limits' store could not be recorded")
        refusal.recorded = self._quiet.may_record()
        return refusal

    async def _charge_refused(self, caller: Caller, refusal: Refusal) -> Refusal:
        """`refusal`, which no other budget bears, or that of a caller who had too many of them."""
        try:
            admission = await self._limiter.admit_refused(caller.principal)
        except EventStoreError:
            _log.exception("an outage of the limits' store could not be recorded")
            return refusal
        return refusal if admission.allowed else _refusal(admission)

    async def _is_first(self, caller: Caller, read: int) -> bool:
        """Whether it was not refused for a budget in the last minute; others of callers are recorded, within theirs."""
        await self._quiet.report_ended()
        silence = self._quiet.of("caller", caller.principal)
        if silence is None:
            token = caller.token
            who = caller.principal
            silence = self._quiet.begin("caller", who, subject=token.subject, client_id=token.client_id)
            return silence.remembered or self._quiet.may_record()
        silence.unrecorded += 1
        silence.wasted += read
        return False

    def _tokens(self, message: Message) -> int:
        tokens, params = 0, message.params
        if message.shape is Shape.RESPONSE:  # what 2026-07-28 has in inputResponses
            return self._limiter.count(message.body)
        for name in _CONTENT:
            if name in params:
                tokens += self._limiter.count(_written(params[name]))
        return tokens


def _refusal(admission: Admission) -> RateLimited:
    window = HOUR if admission.budget == "tokens" else MINUTE
    headers = {
        "ratelimit-policy": f'"{admission.budget}";q={admission.limit};w={window}',
        "ratelimit": f'"{admission.budget}";r={admission.remaining};t={admission.retry_after}',
    }
    data: dict[str, str | int | None] = {"budget": admission.budget, "limit": admission.limit, "retryAfter": None}
    if admission.never:
        message = f"This call alone is larger than the whole budget of {admission.limit} {admission.budget}."
    else:
        message = f"The budget of {_NAMES[admission.budget]} is used up; try again in {admission.retry_after} s."
        headers["retry-after"] = str(admission.retry_after)
        data["retryAfter"] = admission.retry_after
    return RateLimited(message, reason=f"budget of {_NAMES[admission.budget]} exceeded", headers=headers, data=data)


_NAMES = {
    "requests": "requests",
    "tokens": "tokens",
    "tool": "calls of this tool",
    "client": "requests of this client",
    "address": "requests from this address",
    "documents": "requests from this address",
    "refused": "requests that may be refused",
}


def _full(slots: Slots, what: str) -> RateLimited:
    return RateLimited(
        f"{slots.limit} {what} at once are the most; try again when one has ended.",
        reason=f"too many {what} at once",
        headers={
            "retry-after": str(SLOT_RETRY_AFTER),
            "ratelimit-policy": f'"{what}";q={slots.limit};qu="concurrent-requests"',
            "ratelimit": f'"{what}";r=0',
        },
        data={"budget": what, "limit": slots.limit, "retryAfter": SLOT_RETRY_AFTER},
    )
