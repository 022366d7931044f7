"""MCP 2026-07-28, multi round-trip requests: state that a client keeps is good for its caller only, and for its call.

A server that asks back may put what it knows so far into `requestState`, which the client sends again with its answers.
What leaves the guard is `<state>.<HMAC>`, over the state, the principal, the resource, and the method, name and
arguments of the request; on return the HMAC is checked and taken off. So a state can be neither made up, nor changed,
nor used by somebody else or for another call, whatever the server does to protect it. No replica has to remember any.
"""

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from mcp_types import INVALID_PARAMS
from msgspec.structs import replace

from garrison.guard.refusal import Refusal
from garrison.guard.types import Caller, Message

STATE = "requestState"
_OTHER_SPELLINGS = frozenset({"request_state", "input_responses"})
"""The SDK's models take these too, but its own check of the state looks at the first spelling only."""


class StateBinding:
    def __init__(self, secret: bytes, resource: str) -> None:
        # A key of its own for this one use, and for this one server, as in session.py.
        self._key = hmac.digest(secret, b"garrison request state\n" + resource.encode(), "sha256")

    def bind(self, state: str, caller: Caller, message: Message) -> str:
        """What the client gets for the app's `state`, in the answer to `message`."""
        return f"{state}.{self._mac(state, caller, message)}"

    def unbind(self, message: Message, caller: Caller) -> Message:
        """`message` with the app's own state, or as it is if it bears none.

        Raises:
            Refusal: the state isn't one that this caller got for this call (the SDK's own words and code).
        """
        if not _OTHER_SPELLINGS.isdisjoint(message.params):
            raise Refusal("Parameters are spelled in another way.", code=INVALID_PARAMS)
        bound = message.params.get(STATE)
        if bound is None:
            return message
        state, dot, mac = bound.rpartition(".") if isinstance(bound, str) else ("", "", "")
        if not dot or not hmac.compare_digest(mac.encode("utf-8"), self._mac(state, caller, message).encode()):
            raise Refusal(
                "Invalid or expired requestState",
                reason="the requestState is not this caller's for this call, or was changed",
                code=INVALID_PARAMS,
                data={"reason": "invalid_request_state"},
            )
        return _with_params(message, {**message.params, STATE: state})

    def _mac(self, state: str, caller: Caller, message: Message) -> str:
        params = message.params
        about = [params.get("name"), params.get("uri"), params.get("arguments") or {}]
        text = json.dumps([caller.principal, message.method, about, state], sort_keys=True)
        return urlsafe_b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode().rstrip("=")


def _with_params(message: Message, params: dict[str, Any]) -> Message:
    """Written anew from what was judged, so that the app reads nothing else."""
    body = {"jsonrpc": "2.0", "id": message.id, "method": message.method, "params": params}
    return replace(message, params=params, body=json.dumps(body, ensure_ascii=False).encode(), rewritten=True)
