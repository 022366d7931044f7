"""Results on their way back: a state that the client is to keep is bound to its caller; no cache may share a result.

A shared cache in front of the guard would hand one caller's answer to another, unseen; so `cacheScope` (MCP 2026-07-28,
caching) is always `private`. A result that can't be read goes on as it is: a state in it is worth nothing then.
"""

import json
from collections.abc import Callable
from functools import partial

from mcp_types.methods import CACHEABLE_METHODS, INPUT_REQUIRED_METHODS
from starlette.types import Send

from garrison.guard.request_state import STATE
from garrison.guard.rewriting import Rewriter, rendered

METHODS = CACHEABLE_METHODS | INPUT_REQUIRED_METHODS
SCOPE = "cacheScope"
_STATE_KEY, _SCOPE_KEY = f'"{STATE}"'.encode(), f'"{SCOPE}"'.encode()


def amending(send: Send, bind: Callable[[str], str]) -> Send:
    """What stands in for `send`, in front of it. Args: bind: makes an app's state the caller's own.

    A function and no object with a bound method of its own in it: that cycle would keep each call, with all that it
    holds, until the garbage collector comes, and have that come twice as often.
    """
    return Rewriter(send, partial(_amend, bind), lenient=True).send


def _amend(bind: Callable[[str], str], text: bytes) -> bytes:
    if _STATE_KEY not in text and _SCOPE_KEY not in text:
        return text
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return text
    result = message.get("result") if isinstance(message, dict) else None
    if not isinstance(result, dict):
        return text
    amended = dict(result)
    if isinstance(state := result.get(STATE), str):
        amended[STATE] = bind(state)
    if SCOPE in result:
        amended[SCOPE] = "private"
    return text if amended == result else rendered({**message, "result": amended})
