"""RFC 6585 §4 and draft-ietf-httpapi-ratelimit-headers: each request is charged to its principal's budgets.

One that was denied is not: its event says what happened.
"""

import json
import logging

from garrison.base.errors import EventStoreError
from garrison.guard.refusal import RateLimited, Unavailable
from garrison.guard.types import Caller, Message
from garrison.limits.limiter import Admission, Limiter
from garrison.limits.tokens import estimate_tokens

_WINDOWS = {"requests": 60, "tokens": 3600}
"""Seconds of each budget's window, as its name in LimitSettings says."""
_CONTENT = ("arguments", "inputResponses")
"""What of a message a model wrote: the rest is protocol."""
RETRY_AFTER = 5
"""Seconds after which an outage that can't even be recorded is worth another try."""

_log = logging.getLogger(__name__)


async def admit(limiter: Limiter, caller: Caller, message: Message | None) -> None:
    """Charges the request, with its `message` if it has one.

    Raises:
        RateLimited: the caller's budget doesn't bear it.
        Unavailable: the limiter can neither reach its store nor record that.
    """
    try:
        admission = await limiter.admit(caller.principal, _tokens(message) if message else 0)
    except EventStoreError as error:
        raise Unavailable("Budgets can't be looked up.", reason=str(error), retry_after=RETRY_AFTER) from error
    if not admission.allowed:
        raise _refusal(admission)


async def settle(limiter: Limiter, caller: Caller, tokens: int) -> None:
    """Charges what the answer cost; it is on its way, so nothing is left to refuse."""
    try:
        await limiter.settle(caller.principal, tokens)
    except EventStoreError:
        _log.exception("an outage of the limits' store could not be recorded")


def _tokens(message: Message) -> int:
    content = [message.params[name] for name in _CONTENT if name in message.params]
    return sum(estimate_tokens(json.dumps(part, ensure_ascii=False)) for part in content)


def _refusal(admission: Admission) -> RateLimited:
    headers = {
        "ratelimit-policy": f'"{admission.budget}";q={admission.limit};w={_WINDOWS[admission.budget]}',
        "ratelimit": f'"{admission.budget}";r={admission.remaining};t={admission.retry_after}',
    }
    data: dict[str, str | int | None] = {"budget": admission.budget, "limit": admission.limit, "retryAfter": None}
    if admission.never:
        message = f"This call alone is larger than the whole budget of {admission.limit} {admission.budget}."
    else:
        message = f"The budget of {admission.budget} is used up; try again in {admission.retry_after} s."
        headers["retry-after"] = str(admission.retry_after)
        data["retryAfter"] = admission.retry_after
    return RateLimited(message, reason=f"budget of {admission.budget} exceeded", headers=headers, data=data)
