"""How a request gets to its endpoint: one look into a table of paths, and headers that every response carries.

Starlette's own way, a list of patterns with layers around each, costs more than all checks of the token endpoint.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from garrison.authserver import errors

_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""What every response carries unless it says otherwise: nothing is stored, framed, sniffed or referred to."""

_FOR_ANY_ORIGIN = (*_HEADERS, (b"access-control-allow-origin", b"*"))
"""Said to everybody, whether a script asks or not, so that a cache may give one's answer to the other."""


class Entrance:
    """Args: doors: what answers, by path. otherwise: for what is no HTTP request (the lifespan)."""

    def __init__(self, doors: Mapping[str, ASGIApp], otherwise: ASGIApp) -> None:
        self._doors = doors
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._otherwise(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        await self._doors.get(path, _nothing_there)(scope, receive, send)


def door(answer: Callable[[Request], Awaitable[Response]], methods: str, *, cors: bool = False) -> ASGIApp:
    """An endpoint for `methods` ("GET POST"). `cors` opens it to scripts of any origin, without cookies."""
    allowed = {*methods.split(), *(["HEAD"] if "GET" in methods.split() else [])}
    headers = _FOR_ANY_ORIGIN if cors else _HEADERS

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await answer(request) if scope["method"] in allowed else _otherwise(request)
        except HTTPException as error:
            response = errors.of_http(request, error)
        await _with_headers(response, headers)(scope, receive, send)

    def _otherwise(request: Request) -> Response:
        if cors and request.method == "OPTIONS" and {"origin", "access-control-request-method"} <= {*request.headers}:
            return _CORS.preflight_response(request.headers)
        raise HTTPException(405, headers={"Allow": methods.replace(" ", ", ")})

    return app


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    response = errors.of_http(Request(scope), HTTPException(404))
    await _with_headers(response, _HEADERS)(scope, receive, send)


def _with_headers(response: Response, headers: tuple[tuple[bytes, bytes], ...]) -> Response:
    said = dict(response.raw_headers)
    response.raw_headers += [header for header in headers if header[0] not in said]
    return response


_CORS = CORSMiddleware(
    _nothing_there,
    allow_origins=["*"],
    allow_methods=["GET", "POST"],
    allow_headers=["Authorization", "MCP-Protocol-Version"],
)
