"""How the guard says no: one class per answer, a public message, a private reason; rendered in respond.py.

Refusal                       400  the request is not one that this server could ever serve
├── ParseFailed               400  the body is not JSON that every parser reads alike
├── HeaderMismatch            400  headers and body disagree (MCP 2026-07-28, -32020)
├── NotAuthenticated          401  no access token (RFC 6750 §3: a challenge without error code)
├── TokenRefused              401  … or one that is no good (error="invalid_token")
├── Denied                    403  policy: not for this caller, and no scope would help
│   ├── ScopeMissing          403  … but with more scope (error="insufficient_scope")
│   └── MethodNotFound        404  a method that MCP doesn't have, or that is not let through
├── OriginRefused             403  a browser page of another origin
├── NotFound                  404  no such path, or no such session for this caller
├── MethodNotAllowed          405
├── BodyTimeout               408
├── TooLarge                  413
├── UnsupportedMediaType      415
├── Misdirected               421  a Host that is not ours (DNS rebinding)
├── RateLimited               429
├── Broken                    500  the guard failed to decide: fail closed
├── Unavailable               503  fail closed: keys or the event store are out of reach
└── InputRejected             200  a tool result with isError, so that a model can correct itself
"""

from collections.abc import Mapping
from typing import Any

from mcp_types import HEADER_MISMATCH, INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR

from garrison.base.events import Kind

ACCESS_DENIED = -32003
RATE_LIMITED = -32004
"""JSON-RPC codes of the implementation-defined band (-32000 to -32019), which no MCP revision assigns."""


class Refusal(Exception):
    """The request goes no further.

    Args:
        message: public, becomes the JSON-RPC error's message.
        reason: private, for the event; `message` if empty. Never a secret of the caller's.
        code: JSON-RPC error code, where it isn't the class's.
        headers: sent along.
        data: public, the JSON-RPC error's data.

    Attributes:
        recorded: whether it is an event; False for one of many alike, of which only their number is.
    """

    status = 400
    code = INVALID_REQUEST
    kind = Kind.REQUEST_REJECTED
    recorded = True

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: int | None = None,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or message
        self.code = type(self).code if code is None else code
        self.headers = dict(headers or {})
        self.data = data


class ParseFailed(Refusal):
    code = PARSE_ERROR


class HeaderMismatch(Refusal):
    code = HEADER_MISMATCH


class NotAuthenticated(Refusal):
    status = 401
    code = ACCESS_DENIED


class TokenRefused(NotAuthenticated):
    kind = Kind.AUTHENTICATION_FAILED


class Denied(Refusal):
    status = 403
    code = ACCESS_DENIED
    kind = Kind.CALL_DENIED


class ScopeMissing(Denied):
    pass


class MethodNotFound(Denied):
    """Args: status: 404 as MCP 2026-07-28 asks; 400 before it, when 404 told of an expired session."""

    code = METHOD_NOT_FOUND

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class OriginRefused(Refusal):
    status = 403


class NotFound(Refusal):
    status = 404


class MethodNotAllowed(Refusal):
    status = 405


class BodyTimeout(Refusal):
    status = 408


class TooLarge(Refusal):
    status = 413


class UnsupportedMediaType(Refusal):
    status = 415


class Misdirected(Refusal):
    status = 421


class RateLimited(Refusal):
    status = 429
    code = RATE_LIMITED
    kind = Kind.RATE_LIMITED

    def __init__(
        self, message: str, *, reason: str, headers: Mapping[str, str], data: Any, recorded: bool = True
    ) -> None:
        super().__init__(message, reason=reason, headers=headers, data=data)
        self.recorded = recorded


class Unavailable(Refusal):
    """Args: retry_after: whole seconds until asking again makes sense."""

    status = 503
    code = INTERNAL_ERROR

    def __init__(self, message: str, *, retry_after: int, reason: str = "") -> None:
        super().__init__(message, reason=reason, headers={"retry-after": str(retry_after)})


class Broken(Refusal):
    status = 500
    code = INTERNAL_ERROR

    def __init__(self, *, reason: str) -> None:
        super().__init__("The guard could not decide about this request.", reason=reason)


class InputRejected(Refusal):
    """Args: problems: public sentences that name the fields."""

    status = 200
    kind = Kind.INPUT_REJECTED

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The arguments were not accepted:\n" + "\n".join(f"- {problem}" for problem in problems))
        self.reason = "; ".join(problems)
