"""A guard around your own server in three lines; what it leans on is made, and given back, with the server's life.

    from garrison import Policy, needs, protect

    policy = Policy(tools={"get_customer_info": needs("customer:read")})
    app = protect(mcp, policy, resource="https://mcp.example/mcp", issuer="https://login.example")

`app` is ASGI: serve it with uvicorn in place of `mcp.http_app()`. What isn't named in the policy is denied.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garrison.base.errors import GarrisonError, UsageError
from garrison.base.events import Event, EventSink, Kind, emit, new_correlation_id
from garrison.base.fetch import Fetcher
from garrison.base.files import make_private_folder
from garrison.config.file import FILE
from garrison.config.server import policy as written_policy
from garrison.config.server import server_settings
from garrison.content.schema import ToolSchemas
from garrison.guard.guard import Guard
from garrison.guard.issuers import Issuer
from garrison.guard.policy import Policy
from garrison.home import Home
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from garrison.monitor.store import EventStore
from garrison.servers import Schemas, opened, spared_lists
from garrison.tls.context import client_context

STOPPED = b"the guard is not running"


@contextlib.asynccontextmanager
async def guarded(
    app: ASGIApp,
    policy: Policy,
    schemas: Schemas,
    *,
    resource: str,
    issuer: str | Issuer | Sequence[str | Issuer],
    events: EventSink,
    home: Home,
    limits: LimitSettings | None = None,
    connect_to: Mapping[str, str] | None = None,
    trusted_proxies: Sequence[str] = (),
) -> AsyncIterator[Guard]:
    """A guard around `app`, with a limiter and a fetcher that end with the block.

    Args:
        app: the MCP server.
        policy: who may do what.
        schemas: what every tool's arguments must be.
        resource: the server's own public URL, with its path.
        issuer: whose tokens are believed.
        events: where decisions are written before they take effect.
        home: holds the secret that sessions are bound with, and the local CA if there is one.
        limits: budgets per caller; by default 60 requests a minute and 100,000 AI tokens an hour, in memory.
        connect_to: where the issuer's `host:port` is really reached.
        trusted_proxies: addresses or networks of the proxies whose X-Forwarded-For or Forwarded is believed.

    Raises:
        GarrisonError: one of these is missing or unsafe.
    """
    trust = client_context(home.ca if home.ca.exists() else None)
    limiter = Limiter(limits or LimitSettings(), on_failure=_report_to(events))
    # The issuer is the operator's word, so it may be on this machine or in this network.
    fetcher = Fetcher(trust, private_addresses=True, connect_to=connect_to)
    try:
        guard = Guard(
            app,
            policy,
            resource=resource,
            issuer=issuer,
            events=events,
            limiter=limiter,
            schemas=ToolSchemas(schemas),
            secret=home.read_secret(),
            fetcher=fetcher,
            trusted_proxies=trusted_proxies,
        )
        async with spared_lists(app):
            yield guard
    finally:
        await fetcher.aclose()
        await limiter.aclose()


def _report_to(events: EventSink) -> Callable[[str], Awaitable[None]]:
    """Tells once per outage that budgets are counted by this process alone, or refused."""

    async def report(reason: str) -> None:
        await emit(events, Event(kind=Kind.LIMIT_STORE_DOWN, correlation_id=new_correlation_id(), reason=reason))

    return report


def protect(
    server: Any,
    policy: Policy | None = None,
    *,
    resource: str,
    issuer: str | Issuer | Sequence[str | Issuer],
    schemas: Schemas | None = None,
    home: Path | str = ".garrison",
    limits: LimitSettings | None = None,
    trusted_proxies: Sequence[str] = (),
) -> ASGIApp:
    """`server` behind a guard, as an ASGI application.

    Args:
        server: a FastMCP server, an MCP SDK server (`MCPServer`), or any ASGI application that speaks MCP.
        policy: who may do what; by default what garrison.toml in `home` says.
        resource: the server's public URL, with the path that it is served at.
        issuer: the authorization servers whose tokens are believed, by their addresses or as `Issuer` describes them.
        schemas: the tools' argument schemas; needed for an ASGI application only, the others are asked.
        home: the state folder: the secret and the events are kept there, and `ca.pem` is trusted.
        limits: budgets per caller; by default what garrison.toml in `home` and the environment say.
        trusted_proxies: addresses or networks of the proxies whose X-Forwarded-For or Forwarded is believed; by default
            those of garrison.toml.

    Raises:
        UsageError: `server` is none of these, or its schemas are missing, or there is no policy.
    """
    policy = policy or _policy_of(Path(home))
    app, declared = opened(server, urlsplit(resource).path or "/", schemas)

    @contextlib.asynccontextmanager
    async def life() -> AsyncIterator[Guard]:
        place = Home(Path(home))
        make_private_folder(place.folder)
        place.make_secret()
        settings = server_settings(place.folder, os.environ)
        found = await declared()
        async with (
            EventStore(place.events, durability=settings.durability) as events,
            guarded(
                app,
                policy,
                found,
                resource=resource,
                issuer=issuer,
                events=events,
                home=place,
                limits=limits or settings.limits,
                trusted_proxies=trusted_proxies or settings.trusted_proxies,
            ) as guard,
        ):
            yield guard

    return _Protected(life)


def _policy_of(home: Path) -> Policy:
    if policy := written_policy(home):
        return policy
    raise UsageError(
        f"there is no policy: none is given, and {home / FILE} has no [policy]",
        "Say who may do what, in either place; `garrison policy check` lists it.",
    )


class _Protected:
    """Builds the guard when the server starts, inside its event loop, and forgets it when it stops."""

    def __init__(self, life: Callable[[], contextlib.AbstractAsyncContextManager[Guard]]) -> None:
        self._life = life
        self._guard: Guard | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._guard is not None:
            await self._guard(scope, receive, send)
        else:
            await _unavailable(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def hold_the_end(message: Message) -> None:
            # An ASGI server may end the process once it hears of the end, so everything must be given back before.
            if message["type"].startswith("lifespan.shutdown."):
                held.append(message)
            else:
                await send(message)

        async with contextlib.AsyncExitStack() as stack:
            try:
                guard = await stack.enter_async_context(self._life())
            except GarrisonError as error:
                await receive()
                await send({"type": "lifespan.startup.failed", "message": f"{error.message} {error.hint}".strip()})
                return
            self._guard = guard
            try:
                await guard(scope, receive, hold_the_end)
            finally:
                self._guard = None
        for message in held:
            await send(message)


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    """A server that ran no lifespan has no guard, and answers nothing else (fail closed)."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": STOPPED})
