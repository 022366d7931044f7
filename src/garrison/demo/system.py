"""The demonstration's two servers, put together: the authorization server and the guarded customer-service server.

This is the one place where the rooms meet: `garrison up`, `garrison demo`, `garrison auth serve` and
`garrison demo serve` all serve what is built here.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from garrison.authserver.app import create_app
from garrison.authserver.settings import AuthServerSettings
from garrison.base.errors import GarrisonError, UsageError
from garrison.base.events import Event, Kind, emit, new_correlation_id
from garrison.config import ServerSettings
from garrison.demo.customer_service import build
from garrison.demo.customers import CustomerDatabase
from garrison.demo.policy import POLICY, SCOPES
from garrison.home import Home
from garrison.monitor.report import summary
from garrison.monitor.store import EventStore
from garrison.oauth import resource as resource_rfc8707
from garrison.oauth.errors import InvalidTarget
from garrison.protection import fastmcp_schemas, guarded
from garrison.serving import Endpoint, bind, running
from garrison.tls.authority import ensure
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


def authorization_server(
    home: Home,
    settings: ServerSettings,
    issuer: str,
    resources: Sequence[str],
    events: EventStore,
    trusted_proxies: Sequence[str] = (),
) -> ASGIApp:
    """The authorization server of `home`, issuing tokens for `resources` with the scopes of its policy.

    Raises:
        UsageError: a resource is no address, or a setting is unsafe.
    """
    for resource in resources:
        try:
            resource_rfc8707.check(resource)
        except InvalidTarget as error:
            raise UsageError(f"{resource!r} is no resource: {error.description}") from error
    home.record_issuer(issuer)
    return create_app(
        AuthServerSettings(
            issuer=issuer,
            database_url=home.auth_database_url(settings.auth_database_url),
            secret=home.read_secret(),
            resources=dict.fromkeys(resources, (settings.policy or POLICY).grantable()),
            scope_descriptions=SCOPES,
            access_token_lifetime=settings.access_token_lifetime,
            trusted_proxies=[*settings.trusted_proxies, *trusted_proxies],
            identity_provider=settings.identity_provider,
            **vars(settings.open_clients),
        ),
        events=events,
    )


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
    async with EventStore(home.events, durability=settings.durability) as events, contextlib.AsyncExitStack() as stack:
        auth = authorization_server(home, settings, at.issuer, [at.resource], events)
        mcp = await stack.enter_async_context(guarded_server(home, settings, at.issuer, at.resource, events))
        await announce(events, Kind.SERVER_STARTED, at.issuer, at.resource)
        await stack.enter_async_context(
            running(
                Endpoint("authorization server", auth, auth_sockets, context),
                Endpoint("MCP server", mcp, mcp_sockets, context),
            )
        )
        try:
            yield
        finally:
            await announce(events, Kind.SERVER_STOPPED, at.issuer, at.resource)


async def announce(events: EventStore, kind: Kind, *names: str) -> None:
    for name in names:
        await emit(events, Event(kind=kind, correlation_id=new_correlation_id(), target=name))


def certificate_files(home: Home, settings: ServerSettings) -> tuple[Path, Path]:
    """Certificate and key for TLS: those that the settings name, else the local authority's, renewed if due."""
    if settings.tls:
        return settings.tls.certificate, settings.tls.key
    paths = ensure(home.folder)
    return paths.server, paths.server_key
