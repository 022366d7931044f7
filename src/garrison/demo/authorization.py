"""The authorization server of a state folder, alone: so it starts without what MCP servers are made of."""

from collections.abc import Sequence
from pathlib import Path

from starlette.types import ASGIApp

from garrison.authserver.app import create_app
from garrison.authserver.settings import AuthServerSettings
from garrison.base.errors import UsageError
from garrison.config.server import ServerSettings
from garrison.demo.policy import POLICY, SCOPES
from garrison.home import Home
from garrison.monitor.store import EventStore
from garrison.oauth import resource as resource_rfc8707
from garrison.oauth.errors import InvalidTarget
from garrison.tls.authority import ensure


def authorization_server(
    home: Home,
    settings: ServerSettings,
    issuer: str,
    resources: Sequence[str],
    events: EventStore,
    trusted_proxies: Sequence[str] = (),
    scopes: frozenset[str] = frozenset(),
) -> ASGIApp:
    """The authorization server of `home`, issuing tokens for `resources` with `scopes`, or with those of its policy.

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
            resources=dict.fromkeys(resources, scopes or (settings.policy or POLICY).grantable()),
            scope_descriptions=SCOPES,
            access_token_lifetime=settings.access_token_lifetime,
            trusted_proxies=[*settings.trusted_proxies, *trusted_proxies],
            identity_provider=settings.identity_provider,
            **vars(settings.open_clients),
        ),
        events=events,
    )


def certificate_files(home: Home, settings: ServerSettings) -> tuple[Path, Path]:
    """Certificate and key for TLS: those that the settings name, else the local authority's, renewed if due."""
    if settings.tls:
        return settings.tls.certificate, settings.tls.key
    paths = ensure(home.folder)
    return paths.server, paths.server_key
