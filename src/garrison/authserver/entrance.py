"""How a request gets to its endpoint: one look into a table of paths, and headers that every response carries.

Starlette's own way, a list of patterns and four layers around each, costs as much as all checks of the token endpoint.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garrison.authserver import errors

_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""What every response carries unless it says otherwise: nothing is stored, framed, sniffed or referred to."""


class Entrance:
    """Args: doors: what answers, by path. otherwise: for what is no HTTP request (the lifespan)."""

    def __init__(self, doors: Mapping[str, ASGIApp], otherwise: ASGIApp) -> None:
        self._doors = doors
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._otherwise(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message["headers"]
                names = {name for name, _ in own}
                message["headers"] = [*own, *(header for header in _HEADERS if header[0] not in names)]
            await send(message)

        path = scope["path"].removeprefix(scope.get("root_path", ""))
        await self._doors.get(path, _nothing_there)(scope, receive, send_with_headers)


def door(answer: Callable[[Request], Awaitable[Response]], methods: str, *, cors: bool = False) -> ASGIApp:
    """An endpoint for `methods` ("GET POST"). `cors` opens it to scripts of any origin, without cookies."""
    allowed = {*methods.split(), *(["HEAD"] if "GET" in methods.split() else [])}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            if request.method not in allowed:  # OPTIONS is for CORS alone, and answered there
                raise HTTPException(405, headers={"Allow": methods.replace(" ", ", ")})  # noqa: TRY301
            response = await answer(request)
        except HTTPException as error:
            response = errors.of_http(request, error)
        await response(scope, receive, send)

    return _for_any_origin(app) if cors else app


def _for_any_origin(app: ASGIApp) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "MCP-Protocol-Version"],
    )


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    await errors.of_http(Request(scope), HTTPException(404))(scope, receive, send)
