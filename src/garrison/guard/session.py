"""MCP up to 2025-11-25, session management: a session id is worth something only to the caller it was made for.

What leaves the guard is `<id>.<HMAC of id, resource and principal>`; on return the HMAC is checked and taken off. So a
stolen id is as good as an unknown one, on every replica, and none has to remember any (session hijacking; fixation).
"""

import hmac
from base64 import urlsafe_b64encode

from garrison.guard.refusal import NotFound
from garrison.guard.types import SESSION_ID, Caller, Request


class SessionBinding:
    def __init__(self, secret: bytes, resource: str) -> None:
        # A key of its own for this one use, and for this one server (GHSA-mvgg-jvj2-4frq: replay on another).
        self._key = hmac.digest(secret, b"garrison session id\n" + resource.encode(), "sha256")

    def bind(self, session_id: str, caller: Caller) -> str:
        return f"{session_id}.{self._mac(session_id, caller)}"

    def unbind(self, request: Request, caller: Caller) -> str | None:
        """The app's own session id that `request` bears; None if it bears none.

        Raises:
            NotFound: it is not this caller's (the answer for an unknown session, so that nothing is learnt).
        """
        bound = request.header(SESSION_ID)
        if bound is None:
            return None
        session_id, _, mac = bound.rpartition(".")
        if not hmac.compare_digest(mac.encode("latin-1"), self._mac(session_id, caller).encode()):
            raise NotFound("Session not found.", reason="the session id is not this caller's, or was changed")
        return session_id

    def _mac(self, session_id: str, caller: Caller) -> str:
        message = f"{caller.principal}\n{session_id}".encode()
        return urlsafe_b64encode(hmac.digest(self._key, message, "sha256")).decode().rstrip("=")
