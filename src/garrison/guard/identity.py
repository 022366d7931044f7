"""What the wrapped app sees: the caller's identity, in the way that the SDK and FastMCP read it, and never the token.

`get_access_token()` of both works in tools. Its `token` field holds the guard's fingerprint of the token: as distinct
(FastMCP keys its response cache by it) and of no use to whoever finds it in a log or sends it on (token passthrough).
The Authorization header, and whatever else the guard has judged and used up, is taken out of the request.
"""

import sys
from urllib.parse import quote

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.authentication import AuthCredentials

from garrison.guard.types import CORRELATION_ID, LAST_EVENT_ID, SESSION_ID, Call, Caller, Scope

_CORRELATION_ID, _SESSION_ID, _LAST_EVENT_ID = (name.encode() for name in (CORRELATION_ID, SESSION_ID, LAST_EVENT_ID))
_TAKEN_OUT = frozenset(
    {b"authorization", b"proxy-authorization", b"accept-encoding", _CORRELATION_ID, _SESSION_ID, _LAST_EVENT_ID}
)
"""An answer is read here (lists) and charged by its text, so the app is not asked to compress it; a proxy may."""


class Identity:
    """Args: path: the one spelling of the server's path that the app sees. resource: the tokens' audience."""

    def __init__(self, path: str, resource: str) -> None:
        self._fixed = {"path": path, "raw_path": quote(path).encode(), "query_string": b""}
        self._resource = resource

    def forwarded(self, scope: Scope, call: Call, caller: Caller) -> Scope:
        """`scope` as the app gets it: one spelling of the path, no query, no extension to send around inspect.py."""
        token, scopes = caller.token, sorted(caller.token.scopes)
        # The SDK ties sessions and requestState to client, iss, sub. Made anew for each call: tools may change it.
        told = _access_token_type()(
            token=caller.fingerprint,
            client_id=token.client_id,
            scopes=scopes,
            expires_at=token.expires_at,
            resource=self._resource,
            subject=token.subject,
            claims=dict(token.claims),
        )
        return {
            **scope,
            **self._fixed,
            "extensions": {},
            "headers": _headers(scope, call),
            "user": AuthenticatedUser(told),
            "auth": AuthCredentials(scopes),
            "state": {**scope.get("state", {}), "correlation_id": call.request.correlation_id},
        }


def _headers(scope: Scope, call: Call) -> list[tuple[bytes, bytes]]:
    headers = [header for header in scope["headers"] if header[0].lower() not in _TAKEN_OUT]
    if call.message and call.message.rewritten:
        headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(call.message.body)).encode()))
    headers.append((_CORRELATION_ID, call.request.correlation_id.encode()))
    if call.session_id is not None:
        headers.append((_SESSION_ID, call.session_id.encode("latin-1")))
    if call.last_event_id is not None:
        headers.append((_LAST_EVENT_ID, call.last_event_id.encode("latin-1")))
    return headers


def _access_token_type() -> type[AccessToken]:
    """FastMCP's own type once FastMCP is loaded: given the SDK's, it makes its own of it again nine times a call."""
    fastmcp = sys.modules.get("fastmcp.server.auth.auth")
    found: type[AccessToken] = getattr(fastmcp, "AccessToken", AccessToken)
    return found
