"""What an answer of the app passes through on its way back, before it is counted: by its era and by what was asked."""

from functools import partial

from starlette.types import Send

from garrison.guard import lists, results
from garrison.guard.policy import Policy
from garrison.guard.request_state import StateBinding
from garrison.guard.rewriting import renaming
from garrison.guard.session import SessionBinding
from garrison.guard.types import Call, Caller, Shape


class Outbound:
    """Args: filter_lists: whether lists hold only what the caller may use."""

    def __init__(self, policy: Policy, sessions: SessionBinding, states: StateBinding, *, filter_lists: bool) -> None:
        self._policy = policy
        self._sessions = sessions
        self._states = states
        self._filter_lists = filter_lists

    def before(self, send: Send, call: Call, caller: Caller) -> Send:
        """What stands in for `send`, in front of it."""
        message = call.message
        filtered = self._filter_lists and lists.concerns(call)
        if message is None or not message.modern:
            rename = partial(self._sessions.bind_event, caller=caller)
            if filtered:
                return lists.filtering(send, self._policy, caller, rename)
            if self._filter_lists and message and message.shape is Shape.REQUEST and call.session_id is not None:
                return lists.watching(send, self._policy, caller, rename)
            return renaming(send, rename)
        if filtered:
            return lists.filtering(send, self._policy, caller)
        if message.method in results.METHODS:
            return results.amending(send, lambda state: self._states.bind(state, caller, message))
        return send
