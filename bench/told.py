"""What FastMCP itself costs once it knows the caller, whoever tells it: it looks for that user's session then."""

from examples.guarded_fastmcp import mcp
from fastmcp.server.auth import AccessToken
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.authentication import AuthCredentials
from starlette.types import ASGIApp, Receive, Scope, Send


def told(scope: Scope) -> Scope:
    """`scope` with a caller in it."""
    token = AccessToken(token="t", client_id="bench", scopes=["math:use"], subject="bench", claims={})  # noqa: S106
    return {**scope, "user": AuthenticatedUser(token), "auth": AuthCredentials(["math:use"])}


def told_who_calls(app: ASGIApp) -> ASGIApp:
    """`app` with a caller in each scope, and nothing checked."""
    inner = AuthContextMiddleware(app)

    async def telling(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(told(scope) if scope["type"] == "http" else scope, receive, send)

    return telling


mcp._mcp_server.get_tool_input_schema = lambda _tool: None  # noqa: SLF001 - as `protect` does it
knowing = mcp.http_app(path="/mcp")
"""The example's server, which knows its schemas, for bench/throughput.py."""
app = told_who_calls(knowing)
"""The same, told who calls."""
