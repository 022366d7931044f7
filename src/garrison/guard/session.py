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
        self._session = _Binding(hmac.digest(secret, b"garrison session id\n" + resource.encode(), "sha256"))
        self._event = _Binding(hmac.digest(secret, b"garrison event id\n" + resource.encode(), "sha256"))

    def bind(self, session_id: str, caller: Caller) -> str:
        return self._session.bind(session_id, caller)

    def unbind(self, request: Request, caller: Caller) -> str | None:
        """The app's own session id that `request` bears; None if it bears none.

        Raises:
            NotFound: it is not this caller's (the answer for an unknown session, so that nothing is learnt).
        """
        bound = request.header(SESSION_ID)
        if bound is None:
            return None
        session_id = self._session.unbind(bound, caller)
        if session_id is None:
            raise NotFound("Session not found.", reason="the session id is not this caller's, or was changed")
        return session_id

    def bind_event(self, event_id: bytes, caller: Caller) -> bytes:
        return self._event.bind(event_id.decode("latin-1"), caller).encode("latin-1")

    def unbind_event(self, request: Request, caller: Caller) -> str | None:
        """The app's own id of the last event that the client has seen; None if it doesn't say.

        Raises:
            NotFound: it is not this caller's.
        """
        bound = request.header(LAST_EVENT_ID)
        if bound is None:
            return None
        event_id = self._event.unbind(bound, caller)
        if event_id is None:
            raise NotFound("Event not found.", reason="the event id is not this caller's, or was changed")
        return event_id


class _Binding:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def bind(self, value: str, caller: Caller) -> str:
        return f"{value}.{self._mac(value, caller)}"

    def unbind(self, bound: str, caller: Caller) -> str | None:
        value, _, mac = bound.rpartition(".")
        good = hmac.compare_digest(mac.encode("latin-1"), self._mac(value, caller).encode())
        return value if good else None

    def _mac(self, value: str, caller: Caller) -> str:
        message = f"{caller.principal}\n{value}".encode()
        return urlsafe_b64encode(hmac.digest(self._key, message, "sha256")).decode().rstrip("=")
