"""What can go wrong between a client and a guarded server, each with what to do about it.

    GarrisonError
    ├── AuthorizationFailed     no token can be had, or none that may be believed
    │   ├── StrayAnswer         … by what came to the login's port: it answers no login of ours
    │   ├── TokenRefused        … because the token endpoint said so (RFC 6749 §5.2); `.error` is its code
    │   ├── RedirectTaken       … because another program uses the one port that was registered for the login's answer
    │   └── ScopeRefused        … for this operation; `.scope` names what it needs
    ├── RateLimited             the server asks for a longer pause than we wait; `.retry_after` in seconds
    ├── ServerUnreachable       no answer, or none that is MCP
    │   ├── NotSent             … because the request never left: it has not been carried out
    │   ├── SessionEnded        … because the server no longer knows the session: it has not been carried out
    │   └── ConnectionLost      … because the connection ended first: it may have been carried out
    ├── CallRefused             the MCP server answered with an error; `.code` is the JSON-RPC code, `.said` its words
    ├── ModelFailed             the model's provider didn't answer as it should; `.status` is its HTTP status, or 0
    └── TooManyTurns            the model went on calling tools; `.calls` are the calls that were made

Text that comes from a server is cleaned of control characters and cut before it becomes part of a sentence.
"""

from typing import Any

from garrison.base.errors import GarrisonError
from garrison.base.events import one_line


class AuthorizationFailed(GarrisonError):
    pass


class StrayAnswer(AuthorizationFailed):
    pass


class TokenRefused(AuthorizationFailed):
    def __init__(self, error: str, description: str, hint: str = "") -> None:
        said = f"{error}: {description}" if description else error
        super().__init__(f"the authorization server refused to issue a token ({one_line(said)})", hint)
        self.error = error


class RedirectTaken(AuthorizationFailed):
    def __init__(self, redirect_uri: str) -> None:
        super().__init__(
            f"the login can't be answered: {redirect_uri} is in use on this machine", "Stop the program that uses it."
        )


class ScopeRefused(AuthorizationFailed):
    def __init__(self, scope: tuple[str, ...]) -> None:
        named = one_line(" ".join(scope)) or "more scope"
        super().__init__(
            f"permission denied: this needs {named}, which the token does not have",
            f"Have {named} granted to this client (and user) at the authorization server, or ask for it with scope=.",
        )
        self.scope = scope


class RateLimited(GarrisonError):
    def __init__(self, retry_after: float) -> None:
        super().__init__(
            f"the server's rate limit is used up; it asks to wait {retry_after:.0f} s",
            "Try again later, or have the limit raised.",
        )
        self.retry_after = retry_after


class ServerUnreachable(GarrisonError):
    pass


class NotSent(ServerUnreachable):
    pass


class SessionEnded(ServerUnreachable):
    pass


class ConnectionLost(ServerUnreachable):
    pass


class CallRefused(GarrisonError):
    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"the server refused: {one_line(message)}")
        self.code = code
        self.said = message
        self.data = data


class ModelFailed(GarrisonError):
    """The provider's own words are told, but not those about keys: some repeat the key in them."""

    def __init__(self, provider: str, error: Exception) -> None:
        self.status = _http_status(error)
        about_keys = self.status in {401, 403}
        said = "" if about_keys else f": {one_line(str(error))}"
        hint = "Check the API key." if about_keys else "Check the model's name, base_url and your connection."
        super().__init__(f"{provider} did not answer ({type(error).__name__}){said}", hint)


class TooManyTurns(GarrisonError):
    def __init__(self, max_turns: int, calls: tuple[Any, ...]) -> None:
        super().__init__(f"the model was still calling tools after {max_turns} turns", "Ask a narrower question.")
        self.calls = calls


def _http_status(error: BaseException | None) -> int:
    """The HTTP status in `error` or in what it was raised from; 0 if there is none."""
    while error is not None:
        for name in ("status_code", "status"):
            if isinstance(status := getattr(error, name, None), int):
                return status
        error = error.__cause__ or error.__context__
    return 0
