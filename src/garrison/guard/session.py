"""MCP up to 2025-11-25: the ids of sessions and events are worth something only to the caller they were made for.

What leaves the guard is `<id>.<HMAC of id, resource and principal>`; on return the HMAC is checked and taken off. So a
stolen or guessed id is as good as an unknown one, on every replica, and none has to remember any (session hijacking;
fixation). An event's id matters more than a session's: the SDK sends whatever follows it in that event's stream to
whoever asks, by Last-Event-ID, from whatever session; and what follows may be a result that a scope opened. So it is
worth something only to a token that has the scopes of the one it was made for, as far as the policy knows them: a
lesser token of the same caller (another's hands, less trusted) takes up no stream of a greater one.
"""

import hmac
from base64 import urlsafe_b64encode

from garrison.guard.policy import Policy
from garrison.guard.refusal import NotFound
from garrison.guard.types import LAST_EVENT_ID, SESSION_ID, Caller, Request


class SessionBinding:
    """Args: policy: whose scopes matter; replicas have the same."""

    def __init__(self, secret: bytes, resource: str, policy: Policy) -> None:
        self._policy = policy
        self._scopes = sorted(policy.scopes())
        # A key of its own for each use, and for this one server (GHSA-mvgg-jvj2-4frq: replay on another).
        session = hmac.digest(secret, b"garrison session id\n" + resource.encode(), "sha256")
        scopes = " ".join(self._scopes)  # by whose places an event's id names them
        event = hmac.digest(secret, f"garrison event id\n{resource}\n{scopes}".encode(), "sha256")
        self._session, self._event = _Binding(session, "session"), _Binding(event, "event")

    def bind(self, session_id: str, caller: Caller) -> str:
        return self._session.bind(session_id, caller)

    def bind_event(self, event_id: bytes, caller: Caller) -> bytes:
        return self._event.bind(f"{event_id.decode('latin-1')}.{self._held(caller):x}", caller).encode("latin-1")

    def unbind(self, request: Request, caller: Caller) -> tuple[str | None, str | None]:
        """The app's own ids of the session and of the last event seen, each None if `request` doesn't bear it.

        Raises:
            NotFound: one isn't this caller's (the answer for an unknown session, so that nothing is learnt).
        """
        session_id, event_id = request.headers.get(SESSION_ID), request.headers.get(LAST_EVENT_ID)
        if session_id is not None:
            session_id = self._session.unbind(session_id, caller)
        if event_id is not None:
            event_id, _, held = self._event.unbind(event_id, caller).rpartition(".")
            if int(held, 16) & ~self._held(caller):
                raise NotFound("Event not found.", reason="the event id is of a stream that more scope had opened")
        return session_id, event_id

    def _held(self, caller: Caller) -> int:
        """One bit for each scope of the policy."""
        held = self._policy.included(frozenset(caller.token.scopes))
        return sum(1 << place for place, scope in enumerate(self._scopes) if scope in held)


class _Binding:
    """Args: key: of this use. what: is bound, for answers."""

    def __init__(self, key: bytes, what: str) -> None:
        self._key = key
        self._what = what

    def bind(self, value: str, caller: Caller) -> str:
        return f"{value}.{self._mac(value, caller)}"

    def unbind(self, bound: str, caller: Caller) -> str:
        value, _, mac = bound.rpartition(".")
        if not hmac.compare_digest(mac.encode("latin-1"), self._mac(value, caller).encode()):
            reason = f"the {self._what} id is not this caller's, or was changed"
            raise NotFound(f"{self._what.capitalize()} not found.", reason=reason)
        return value

    def _mac(self, value: str, caller: Caller) -> str:
        message = f"{caller.principal}\n{value}".encode()
        return urlsafe_b64encode(hmac.digest(self._key, message, "sha256")).decode().rstrip("=")
