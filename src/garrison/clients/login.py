"""RFC 8252 §7.3: a login in the user's browser, answered on a loopback port that is open just for it."""

import sys
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import ClassVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from garrison.base.errors import GarrisonError
from garrison.clients.errors import AuthorizationFailed, RedirectTaken, StrayAnswer

_PAGE = b"<!doctype html><title>Garrison</title><p>%s You can close this window."
_DONE, _REFUSED = b"You are logged in.", b"The login failed; the program says why."
_STRAY = b"This answers no login that was begun here."


async def open_browser(url: str) -> None:
    """Opens `url`, which has been checked to be https or loopback, and prints it if there is no browser."""
    if not await anyio.to_thread.run_sync(webbrowser.open, url):
        await print_url(url)


async def print_url(url: str) -> None:
    """For a machine without a browser: the user copies the address."""
    sys.stderr.write(f"Open this address to log in:\n{url}\n")


@dataclass(frozen=True)
class Login:
    """How a person logs in.

    Attributes:
        open_url: shows the user the authorization URL.
        path: of the redirect URI `http://127.0.0.1:<any port><path>`, which the client must have registered.
        timeout: seconds that the person has.
        port: of the redirect URI; 0 for one of the system's choice, which RFC 8252 §7.3 makes servers accept.
    """

    open_url: Callable[[str], Awaitable[None]] = open_browser
    path: str = "/callback"
    timeout: float = 180.0
    port: int = 0


class RedirectListener:
    """Listens on 127.0.0.1 for the one redirect of a login; at a port of the system's choice where `port` is 0.

    http.server is no server for the network, and needn't be: it is bound to loopback, and gone after the answer. Any
    page in the user's browser can send it something: what isn't the answer is refused, and the answer waited for.
    """

    def __init__(self, path: str, port: int = 0) -> None:
        try:
            self._server = _Server(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise RedirectTaken(f"http://127.0.0.1:{port}{path}") from error
        self._server.path, self._server.host = path, f"127.0.0.1:{self._server.server_address[1]}"
        self._stop = threading.Event()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self.redirect_uri = f"http://{self._server.host}{path}"

    async def code(self, url: str, login: Login, judge: Callable[[str], str]) -> str:
        """Show `url` to the user, and give what `judge` makes of the query that comes back; what it raises is raised.

        Raises:
            AuthorizationFailed: nobody came in time.
        """
        self._server.judge = judge
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        try:
            with anyio.fail_after(login.timeout):
                await login.open_url(url)
                await anyio.to_thread.run_sync(self._done.wait, abandon_on_cancel=True)
        except TimeoutError as error:
            seen = f" ({self._server.stray.message})" if self._server.stray else ""
            raise AuthorizationFailed(f"nobody logged in within {login.timeout:.0f} s{seen}", "Try again.") from error
        if self._server.error:
            raise self._server.error
        return self._server.code

    def _serve(self) -> None:
        try:
            while not (self._stop.is_set() or self._server.code or self._server.error):
                self._server.handle_request()
        finally:
            self._server.server_close()  # by the thread that uses it: its number may be another's right after
            self._done.set()

    def close(self) -> None:
        """Give the port back."""
        self._stop.set()
        if self._thread is None:
            self._server.server_close()


class _Server(TCPServer):
    allow_reuse_address = True  # a port that the login before used may be taken again at once
    timeout = 0.2  # seconds that handle_request waits before it looks whether to stop
    host: str
    path: str
    judge: Callable[[str], str]
    code = ""
    error: GarrisonError | None = None
    stray: StrayAnswer | None = None

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke; the next one may be the browser's."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5  # seconds for a connection that says nothing
    server_version = "Garrison"
    sys_version = ""
    _HEADERS: ClassVar = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "default-src 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }

    def do_GET(self) -> None:
        if self.headers.get_all("host") != [self.server.host]:  # a name of somebody else's that leads here
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        target = urlsplit(self.path)
        if target.path != self.server.path:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            self.server.code = self.server.judge(target.query)
            self._answer(HTTPStatus.OK, _DONE)
        except StrayAnswer as error:
            self.server.stray = error
            self._answer(HTTPStatus.BAD_REQUEST, _STRAY)
        except GarrisonError as error:
            self.server.error = error
            self._answer(HTTPStatus.BAD_REQUEST, _REFUSED)

    def _answer(self, status: HTTPStatus, text: bytes) -> None:
        self.send_response(status)
        for name, value in self._HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(_PAGE % text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the request line holds the code."""
