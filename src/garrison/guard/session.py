"""MCP up to 2025-11-25: the ids of sessions and events are worth something only to the caller they were made for.

What leaves the guard is `<id>.<HMAC of id, resource and principal>`; on return the HMAC is checked and taken off. So a
stolen or guessed id is as good as an unknown one, on every replica, and none has to remember any (session hijacking;
fixation). An event's id matters as much as a session's: the SDK sends whatever follows it in that event's stream to
whoever asks, by Last-Event-ID, from whatever session.
"""

import hmac
from base64 import urlsafe_b64encode

from garrison.guard.refusal import NotFound
from garrison.guard.types import LAST_EVENT_ID, SESSION_ID, Caller, Request


class SessionBinding:
    def __init__(self, secret: bytes, resource: str) -> None:
        # A key of its own for each use, and for this one server (GHSA-mvgg-jvj2-4frq: replay on another).
        session = hmac.digest(secret, b"garrison session id\n" + resource.encode(), "sha256")
        event = hmac.digest(secret, b"garrison event id\n" + resource.encode(), "sha256")
        self._session, self._event = _Binding(session, "session"), _Binding(event, "event")

    def bind(self, session_id: str, caller: Caller) -> str:
        return self._session.bind(session_id, caller)

    def bind_event(self, event_id: bytes, caller: Caller) -> bytes:
        return self._event.bind(event_id.decode("latin-1"), caller).encode("latin-1")

    def unbind(self, request: Request, caller: Caller) -> tuple[str | None, str | None]:
        """The app's own ids of the session and of the last event seen, each None if `request` doesn't bear it.

        Raises:
            NotFound: one isn't this caller's (the answer for an unknown session, so that nothing is learnt).
        """
        session_id, event_id = request.headers.get(SESSION_ID), request.headers.get(LAST_EVENT_ID)
        if session_id is not None:
            session_id = self._session.unbind(session_id, caller)
        if event_id is not None:
            event_id = self._event.unbind(event_id, caller)
        return session_id, event_id


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
