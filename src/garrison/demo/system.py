"""The demonstration's two servers, put together: the authorization server and the guarded customer-service server.

This is the one place where the rooms meet: `garrison up`, `garrison demo` and `garrison demo serve` serve what is built
here, and `garrison auth serve` what is built in authorization.py.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp

from garrison.base.errors import GarrisonError
from garrison.base.events import Event, Kind, emit, new_correlation_id
from garrison.config.server import ServerSettings
from garrison.demo.authorization import authorization_server, certificate_files
from garrison.demo.customer_service import build
from garrison.demo.customers import CustomerDatabase
from garrison.demo.policy import POLICY
from garrison.home import Home
from garrison.monitor.report import summary
from garrison.monitor.store import EventStore
from garrison.protection import guarded
from garrison.servers import fastmcp_schemas
from garrison.serving import Endpoint, bind, running
from garrison.serving.connection import Bounds
from garrison.tls.context import server_context

TLS_PORTS = (8443, 8001)
HTTP_PORTS = (8080, 8000)
HOST = "localhost"
MCP_PATH = "/mcp"


@dataclass(frozen=True)
class Addresses:
    """Where the two servers are: `issuer` names the authorization server, `resource` the MCP server."""

    auth_port: int
    mcp_port: int
    tls: bool = True

    @property
    def issuer(self) -> str:
        return f"{self._scheme}://{HOST}:{self.auth_port}"

    @property
    def resource(self) -> str:
        return f"{self._scheme}://{HOST}:{self.mcp_port}{MCP_PATH}"

    @property
    def _scheme(self) -> str:
        return "https" if self.tls else "http"


@contextlib.asynccontextmanager
async def guarded_server(
    home: Home,
    settings: ServerSettings,
    issuer: str,
    resource: str,
    events: EventStore,
    connect_to: Mapping[str, str] | None = None,
) -> AsyncIterator[ASGIApp]:
    """The customer-service server behind its guard; what the guard holds is given back at the end of the block.

    The policy is garrison.toml's, or the demonstration's own where that has none.

    Raises:
        GarrisonError: the policy names a tool that the server doesn't have, or something is missing.
    """
    server = build(CustomerDatabase(home.customers), lambda: summary(events))
    async with guarded(
        server.http_app(path=MCP_PATH),
        settings.policy or POLICY,
        await fastmcp_schemas(server),
        resource=resource,
        issuer=issuer,
        events=events,
        home=home,
        limits=settings.limits,
        connect_to=connect_to,
        trusted_proxies=settings.trusted_proxies,
    ) as guard:
        yield guard


@contextlib.asynccontextmanager
async def serving_both(home: Home, settings: ServerSettings, at: Addresses) -> AsyncIterator[None]:
    """Both servers, answering while the block runs.

    Raises:
        GarrisonError: a port is taken, or a file of `home` is missing or broken.
    """
    context = server_context(*certificate_files(home, settings)) if at.tls else None
    auth_sockets = bind("authorization server", HOST, at.auth_port, option="--auth-port")
    try:
        mcp_sockets = bind("MCP server", HOST, at.mcp_port, option="--mcp-port")
    except GarrisonError:
        for bound in auth_sockets:
            bound.close()
        raise
    bounds = Bounds(settings.body_seconds, settings.max_connections)
    async with EventStore(home.events, durability=settings.durability) as events, contextlib.AsyncExitStack() as stack:
        auth = authorization_server(home, settings, at.issuer, [at.resource], events)
        mcp = await stack.enter_async_context(guarded_server(home, settings, at.issuer, at.resource, events))
        await announce(events, Kind.SERVER_STARTED, at.issuer, at.resource)
        await stack.enter_async_context(
            running(
                Endpoint("authorization server", auth, auth_sockets, context, bounds),
                Endpoint("MCP server", mcp, mcp_sockets, context, bounds),
            )
        )
        try:
            yield
        finally:
            await announce(events, Kind.SERVER_STOPPED, at.issuer, at.resource)


async def announce(events: EventStore, kind: Kind, *names: str) -> None:
    for name in names:
        await emit(events, Event(kind=kind, correlation_id=new_correlation_id(), target=name))
