"""What garrison.toml and the environment say of servers: one frozen set of settings for all of them.

A value that is not understood is an error, never ignored: a misspelt limit must not mean no limit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from garrison.authserver.federation.settings import IdentityProvider
from garrison.authserver.federation.table import from_table as identity_provider_of
from garrison.base.errors import UsageError
from garrison.base.peers import Peers
from garrison.config.file import FILE, POLICY, read_file
from garrison.guard.policy import Policy
from garrison.guard.policy_table import from_table
from garrison.limits.settings import LimitSettings
from garrison.monitor.database import Durability

_LIMIT_VARIABLES = {
    "requests_per_minute": "RATE_LIMIT_REQUESTS_PER_MINUTE",
    "tokens_per_hour": "RATE_LIMIT_TOKENS_PER_HOUR",
}

T = TypeVar("T")


@dataclass(frozen=True)
class TlsFiles:
    """Certificate and key that TLS_CERT_PATH and TLS_KEY_PATH name, instead of the local authority's."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class OpenClients:
    """What the authorization server takes of clients that nobody vouches for; see `AuthServerSettings`."""

    client_documents: bool
    client_document_hosts: tuple[str, ...]
    registration: bool
    registration_token: str | None = field(repr=False)
    registrations_per_address: int
    unproven_scope: frozenset[str] | None


@dataclass(frozen=True)
class ServerSettings:
    limits: LimitSettings
    access_token_lifetime: int
    open_clients: OpenClients
    durability: Durability
    tls: TlsFiles | None
    log_level: str
    policy: Policy | None
    trusted_proxies: tuple[str, ...] = ()
    max_connections: int = 1000
    body_seconds: int = 120
    auth_database_url: str | None = field(default=None, repr=False)
    identity_provider: IdentityProvider | None = None


def server_settings(home: Path, environ: Mapping[str, str]) -> ServerSettings:
    """Raises `UsageError` for a file or a variable that can't be understood."""
    file = read_file(home / FILE)
    auth, network = file.get("auth", {}), file.get("network", {})
    return ServerSettings(
        limits=_checked("limits", lambda: _limits(file.get("limits", {}), environ)),
        access_token_lifetime=auth.get("access_token_lifetime", 900),
        open_clients=_open_clients(auth, environ),
        durability=_durability(file.get("events", {}).get("durability", "process")),
        tls=_tls_files(environ),
        log_level=environ.get("LOG_LEVEL", "WARNING").upper(),
        policy=_policy(file, home / FILE),
        auth_database_url=environ.get("GARRISON_DATABASE_URL") or auth.get("database_url") or None,
        trusted_proxies=_proxies(network.get("trusted_proxies", [])),
        max_connections=_from_one(network, "max_connections", 1000),
        body_seconds=_from_one(network, "body_seconds", 120),
        identity_provider=_identity_provider(auth.get("identity_provider"), home, environ),
    )


def policy(home: Path) -> Policy | None:
    """The policy that garrison.toml in `home` holds; None if it holds none. Raises `UsageError`."""
    return policy_of_file(home / FILE)


def policy_of_file(path: Path) -> Policy | None:
    """The policy that the file at `path` holds; None if it holds none, or isn't there. Raises `UsageError`."""
    return _policy(read_file(path), path)


def _open_clients(auth: Mapping[str, Any], environ: Mapping[str, str]) -> OpenClients:
    hosts, scope = auth.get("client_document_hosts", []), auth.get("unproven_scope", "")
    if not all(isinstance(host, str) for host in hosts):
        raise UsageError("auth.client_document_hosts must be a list of texts")
    return OpenClients(
        client_documents=auth.get("client_documents", True),
        client_document_hosts=tuple(hosts),
        registration=auth.get("registration", False),
        registration_token=environ.get("OAUTH_REGISTRATION_TOKEN") or None,
        registrations_per_address=auth.get("registrations_per_address", 20),
        unproven_scope=frozenset(scope.split()) or None,
    )


def _identity_provider(
    table: Mapping[str, Any] | None, home: Path, environ: Mapping[str, str]
) -> IdentityProvider | None:
    """Its secret is in the environment, or in the file that the table names, from the state folder on."""
    if table is None:
        return None
    secret, file = environ.get("GARRISON_IDENTITY_PROVIDER_SECRET"), table.get("client_secret_file")
    if not secret and file:
        try:
            secret = (home / str(file)).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise UsageError(f"auth.identity_provider.client_secret_file: {home / str(file)} can't be read") from error
        if not secret:
            raise UsageError(f"auth.identity_provider.client_secret_file: {home / str(file)} is empty")
    return identity_provider_of(table, secret or None)


def _policy(file: Mapping[str, Any], path: Path) -> Policy | None:
    if POLICY not in file:
        return None
    try:
        return from_table(file[POLICY])
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error


def _limits(file: Mapping[str, Any], environ: Mapping[str, str]) -> LimitSettings:
    """The names of the file's keys are those of the settings; the environment knows three of them."""
    defaults = LimitSettings()
    settings = dict(file)
    for tool, limit in settings.get("tools", {}).items():
        if type(limit) is not int:
            raise UsageError(f"limits.tools.{tool} must be a whole number")
    for key, variable in _LIMIT_VARIABLES.items():
        settings[key] = _number(environ, variable, settings.get(key, getattr(defaults, key)))
    settings["redis_url"] = environ.get("REDIS_URL") or settings.get("redis_url") or None
    settings["client_requests_per_minute"] = settings.get("client_requests_per_minute") or None
    return LimitSettings(**settings)


def _proxies(networks: list[Any]) -> tuple[str, ...]:
    proxies = tuple(str(network) for network in networks)
    Peers(proxies)
    return proxies


def _from_one(network: Mapping[str, int], key: str, default: int) -> int:
    number = network.get(key, default)
    if number < 1:
        raise UsageError(f"network.{key} must be a whole number from 1 up")
    return number


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{name} must be a whole number from 1 up")
    return int(text)


def _durability(word: str) -> Durability:
    if word == "process":
        return "process"
    if word == "power":
        return "power"
    raise UsageError(f"events.durability is {word!r}", 'It can be "process" or "power".')


def _checked(table: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except ValueError as error:
        raise UsageError(f"[{table}]: {error}") from error


def _tls_files(environ: Mapping[str, str]) -> TlsFiles | None:
    certificate, key = environ.get("TLS_CERT_PATH"), environ.get("TLS_KEY_PATH")
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise UsageError("TLS_CERT_PATH and TLS_KEY_PATH go together", "Set both, or neither.")
    return TlsFiles(Path(certificate), Path(key))
