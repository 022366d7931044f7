"""One secure MCP session: `connect` finds out whom to ask for a token, gets it, and speaks MCP with it.

    async with connect("https://localhost:8001/mcp", client_id=…, client_secret=…, issuer=…, ca_file=…) as session:
        result = await session.call("get_customer_info", {"customer_id": "ABC123"})

MCP itself is the SDK's `Client`; TLS certificates are always verified, tokens too.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mcp import Client as McpClient
from mcp.client.session import ElicitationFnT
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, GetPromptResult, Prompt, ReadResourceResult, Resource, Tool

from garrison.base.fetch import Fetcher
from garrison.clients import sdk_errors
from garrison.clients.auth import SessionAuth
from garrison.clients.destination import check_configured, is_local
from garrison.clients.errors import ServerUnreachable
from garrison.clients.http import CLIENT_INFO, MAX_BODY, SessionHttpClient
from garrison.clients.login import Login
from garrison.clients.means import Wanted, token_source
from garrison.clients.retry_after import Timing
from garrison.clients.token_source import TokenSource
from garrison.clients.tokens import TokenStorage
from garrison.oauth import challenge
from garrison.tls.context import client_context

_T = TypeVar("_T")
_PAGES = 50
_GRACE = 1.0
"""Seconds that the SDK waits longer than http.py does, which can say more about it."""


@dataclass(frozen=True)
class TokenInfo:
    """What the session's token says, without the token. Times are seconds since the epoch."""

    issuer: str
    resource: str
    client_id: str
    subject: str
    scopes: frozenset[str]
    expires_at: float | None


class Session:
    """MCP calls that carry a token. Every method raises `GarrisonError` for what a person should read.

    `ended` is set when the stream of what the server says unasked has broken off for good (up to MCP 2025-11-25).
    """

    def __init__(self, client: McpClient, http: SessionHttpClient, source: TokenSource | None) -> None:
        self.client = client
        self.ended = http.ended
        self._failures = http.failures
        self._source = source

    @property
    def name(self) -> str:
        """What the server calls itself."""
        info = self.client.server_info
        return info.name if info else "server"

    @property
    def token(self) -> TokenInfo | None:
        """What the current token says; None for a server that wanted none."""
        if self._source is None or self._source.current is None or (key := self._source.key) is None:
            return None
        token = self._source.current
        return TokenInfo(key.issuer, key.resource, key.client_id, token.subject, token.scopes, token.expires_at)

    async def tools(self) -> list[Tool]:
        return await self._pages(self.client.list_tools, lambda page: page.tools)

    async def resources(self) -> list[Resource]:
        return await self._pages(self.client.list_resources, lambda page: page.resources)

    async def prompts(self) -> list[Prompt]:
        return await self._pages(self.client.list_prompts, lambda page: page.prompts)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """The result of tool `name`; a tool that failed is a result too, with `is_error`."""
        return await self.translate(self.client.call_tool(name, dict(arguments)))

    async def read(self, uri: str) -> ReadResourceResult:
        return await self.translate(self.client.read_resource(uri))

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> GetPromptResult:
        return await self.translate(self.client.get_prompt(name, dict(arguments)))

    async def translate(self, answer: Awaitable[_T]) -> _T:
        """`answer`, or what went wrong as a `GarrisonError`: the original one where it was ours."""
        try:
            return await answer
        except Exception as error:
            if (explained := sdk_errors.explained(error, self._failures)) is None:
                raise
            raise explained from error

    async def _pages(self, page_of: Callable[..., Awaitable[Any]], items: Callable[[Any], list[_T]]) -> list[_T]:
        found: list[_T] = []
        cursor: str | None = None
        for _ in range(_PAGES):
            page = await self.translate(page_of(cursor=cursor))
            found += items(page)
            cursor = page.next_cursor
            if cursor is None:
                return found
        raise ServerUnreachable(f"the server's list does not end after {_PAGES} pages")


@asynccontextmanager
async def connect(
    url: str,
    *,
    client_id: str | None = None,
    client_secret: str | None = None,
    issuer: str | None = None,
    scope: str | None = None,
    ca_file: Path | str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    login: Login | None = None,
    storage: TokenStorage | None = None,
    mode: str = "auto",
    private_addresses: bool = False,
    private_key_file: Path | str | None = None,
    client_metadata_url: str | None = None,
    omit_resource: bool = False,
    legacy_authorization: bool = False,
    issuer_shape: str | None = None,
    token_audience: str | None = None,
    elicitation: ElicitationFnT | None = None,
    timing: Timing | None = None,
    mcp_options: Mapping[str, Any] | None = None,
) -> AsyncIterator[Session]:
    """A session with the MCP server at `url`.

    Args:
        url: https, or http on loopback.
        client_id: the client, as registered with the authorization server. Without it a `login` makes one (see
            registration.py); without both, only a server that wants no token will do.
        client_secret: the client's own; with it the client acts for itself (client_credentials), unless `login` is
            given. Without it a person logs in (authorization code, PKCE).
        issuer: the authorization server that knows the client. Required with a secret, which is never sent elsewhere.
        scope: what to ask for, space-separated; by default what the server says is needed.
        ca_file: PEM file of authorities to trust besides the system's.
        ssl_context: instead of `ca_file`, to share one.
        login: how a person logs in; by default in a browser on this machine.
        storage: where tokens and registrations are kept; by default in memory, for this session.
        mode: MCP's era: auto, legacy, or a version such as 2026-07-28.
        private_addresses: whether the server may name special-use addresses (a private network); it may if `url` is
            itself on loopback.
        private_key_file: instead of `client_secret`: the client's private key, PEM or JWK, mode 0600
            (private_key_jwt). Its assertions are made for `issuer` alone.
        client_metadata_url: https address of the client's own metadata document (CIMD), instead of `client_id`.
        omit_resource: send no `resource` parameter (RFC 8707), for an authorization server that refuses it. The token
            must be for this server all the same.
        legacy_authorization: take a server that publishes no protected-resource metadata for its own authorization
            server (MCP 2025-03-26). It then has no way to say that it checks PKCE.
        issuer_shape: whose tokens `issuer`'s look like, where that is not RFC 9068: keycloak, entra, auth0 or okta.
        token_audience: what `issuer` puts into `aud` for this server, where that is not the server's own name.
        elicitation: answers the server's questions to the user, as the SDK's `elicitation_callback`; without it the
            server is told that it can ask nothing.
        timing: clock, sleep and patience.
        mcp_options: further arguments of the SDK's `Client`: callbacks for what the server asks or says.

    Raises:
        UsageError: the arguments don't fit together.
        GarrisonError: no session can be had.
    """
    check_configured(url)
    wanted = Wanted(
        url,
        client_id,
        client_secret,
        issuer,
        scope,
        login,
        storage,
        private_addresses,
        Path(private_key_file) if private_key_file else None,
        client_metadata_url,
        omit_resource,
        legacy_authorization,
        issuer_shape,
        token_audience,
    )
    timing = timing or Timing()
    context = ssl_context or client_context(Path(ca_file) if ca_file else None)
    failure: Exception | None = None
    async with sdk_errors.leaving(), AsyncExitStack() as stack:
        fetcher = await stack.enter_async_context(
            Fetcher(
                context,
                private_addresses=private_addresses or is_local(url),
                timeout=timing.patience.document,
            )
        )
        source = token_source(wanted, fetcher, timing)
        auth, patience = SessionAuth(url, source, timing), timing.patience
        http = await stack.enter_async_context(SessionHttpClient(auth, context, patience.answer))
        if source:
            # Before the MCP client starts: it waits ten seconds for its first answer, and a person logs in more slowly.
            unauthorized = await http.knock(url, legacy=mode == "legacy")
            if unauthorized is not None:
                await source.replace(None, challenge.bearer(unauthorized.get_list("www-authenticate")))
        options = {"client_info": CLIENT_INFO, "elicitation_callback": elicitation, **(mcp_options or {})}
        transport = streamable_http_client(url, http_client=http, max_sse_event_size=MAX_BODY)
        mcp = McpClient(transport, mode=mode, read_timeout_seconds=patience.answer + _GRACE, **options)
        session = Session(mcp, http, source)
        await session.translate(stack.enter_async_context(mcp))
        if elicitation or mcp_options:  # there is somebody to ask, or to tell
            await http.until_listening()
        try:
            yield session
        except Exception as error:  # noqa: BLE001 - raised below, where the SDK's task groups don't wrap it in a group
            failure = error
    if failure is not None:
        raise failure
