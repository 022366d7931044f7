"""The Authorization header of an MCP session (RFC 6750 §2.1), and what to do about 401, 403 and 429.

An `httpx2.Auth`, so that it works in any httpx2 client. Each answer is acted upon a bounded number of times, and the
request is sent again; what can't be helped is raised as a `GarrisonError`. The SDK's own OAuth providers are not used:
they hold a lock across each whole request and know no 429 (see also token_source.py).
"""

import json
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass

import httpx2

from garrison.clients.errors import AuthorizationFailed, ScopeRefused
from garrison.clients.retry_after import Timing, Waits
from garrison.clients.token_source import TokenSource
from garrison.clients.tokens import Token
from garrison.oauth import challenge, resource
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.errors import InvalidScope

UNAUTHORIZED, FORBIDDEN, TOO_MANY_REQUESTS = 401, 403, 429
_STEP_UPS = 1
_MAX_LEARNT = 256


@dataclass
class _Tries:
    """What has been tried for one request."""

    waits: Waits
    replaced: bool = False
    step_ups: int = 0


class SessionAuth(httpx2.Auth):
    """Authorizes the requests of one session, which all go to `url`.

    What scopes a tool needs is learnt from the server's refusals: before the next call of that tool they are asked for,
    and where they are not granted, that is the answer. The server is then asked again, for its word is what counts.
    """

    def __init__(self, url: str, source: TokenSource | None, timing: Timing) -> None:
        self._needs: dict[str, frozenset[str]] = {}
        self._url = str(httpx2.URL(url))  # as httpx2 writes it, default ports and all
        self._source = source
        self._timing = timing

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        raise RuntimeError(f"a session is asynchronous: use httpx2.AsyncClient for {request.url}")

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        if not resource.same(str(request.url), self._url):
            raise AuthorizationFailed(
                f"the server redirects to {request.url.copy_with(query=None)}, where its token is not for",
                "If that is the server's address, use it.",
            )
        tries = _Tries(Waits(self._timing))
        token = await self._source.token() if self._source else None
        if token and (missing := self._missing(request, token)):
            token = await self._step_up(missing, token, tries)
        while True:
            if token:
                request.headers["Authorization"] = f"Bearer {token.access_token}"
            response = yield request
            if response.status_code == UNAUTHORIZED:
                token = await self._replace(response, token, tries)
            elif response.status_code == FORBIDDEN and token and (needed := needed_scopes(response)) is not None:
                self._learn(request, needed)
                token = await self._step_up(needed, token, tries)
            elif response.status_code == TOO_MANY_REQUESTS:
                await tries.waits.wait(response.headers.get("retry-after"))
            else:
                return

    def _missing(self, request: httpx2.Request, token: Token) -> frozenset[str]:
        """The scopes that this call needed last time, if `token` lacks any of them; they are forgotten then."""
        if not self._needs:
            return frozenset()
        tool = tool_of(request)
        lacks = not scope_rfc6749.covers(token.scopes, self._needs.get(tool, frozenset()))
        return self._needs.pop(tool) if lacks else frozenset()

    def _learn(self, request: httpx2.Request, needed: frozenset[str]) -> None:
        if needed and (tool := tool_of(request)):
            if len(self._needs) >= _MAX_LEARNT:
                self._needs.clear()
            self._needs[tool] = needed

    async def _replace(self, response: httpx2.Response, token: Token | None, tries: _Tries) -> Token:
        if self._source is None:
            raise AuthorizationFailed(
                f"{self._url} wants a token, and no client is configured",
                f"garrison login {self._url}; in a program, give connect() a client_id, or a login.",
            )
        if tries.replaced:
            raise AuthorizationFailed(
                f"{self._url} refuses even a new token",
                "Does it trust this authorization server, and is its clock right?",
            )
        tries.replaced = token is not None  # a request without a token has had no try yet
        return await self._source.replace(token, _bearer(response))

    async def _step_up(self, needed: frozenset[str], token: Token, tries: _Tries) -> Token:
        if self._source is None or not needed or tries.step_ups >= _STEP_UPS:
            raise ScopeRefused(tuple(sorted(needed)))
        tries.step_ups += 1
        return await self._source.step_up(needed, token)


def tool_of(request: httpx2.Request) -> str:
    """The tool that `request` calls; empty if it calls none."""
    try:
        message = json.loads(request.content)
        return str(message["params"]["name"]) if message["method"] == "tools/call" else ""
    except (ValueError, KeyError, TypeError, httpx2.RequestNotRead):
        return ""


def _bearer(response: httpx2.Response) -> challenge.Challenge | None:
    return challenge.bearer(response.headers.get_list("www-authenticate"))


def needed_scopes(response: httpx2.Response) -> frozenset[str] | None:
    """The scopes that a 403 asks for (RFC 6750 §3.1 insufficient_scope); None if it is refused for another reason."""
    bearer = _bearer(response)
    if bearer is None or bearer.params.get("error") != "insufficient_scope":
        return None
    try:
        return scope_rfc6749.parse(bearer.params.get("scope"))
    except InvalidScope:
        return frozenset()
