"""The only reader of garrison.toml and the environment: what they say becomes frozen settings, one set per room.

The environment beats the file, the command line beats both. A key or a value that is not understood is an error, never
ignored: a misspelt limit must not mean no limit.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from garrison.authserver.federation.settings import IdentityProvider
from garrison.authserver.federation.table import from_table as identity_provider_of
from garrison.base.addresses import is_loopback_host
from garrison.base.errors import UsageError, did_you_mean
from garrison.base.peers import Peers
from garrison.guard.policy import Policy
from garrison.guard.policy_table import from_table
from garrison.limits.settings import LimitSettings
from garrison.monitor.database import Durability

_LIMIT_VARIABLES = {
    "requests_per_minute": "RATE_LIMIT_REQUESTS_PER_MINUTE",
    "tokens_per_hour": "RATE_LIMIT_TOKENS_PER_HOUR",
}
DEFAULT_HOME = Path(".garrison")
FILE = "garrison.toml"

T = TypeVar("T")

_FILE_KEYS: Mapping[str, Mapping[str, type]] = {
    "limits": {
        "requests_per_minute": int,
        "tokens_per_hour": int,
        "client_requests_per_minute": int,
        "stranger_requests_per_minute": int,
        "concurrent_calls": int,
        "open_streams": int,
        "tools": dict,
        "token_counter": str,
        "redis_url": str,
        "on_store_failure": str,
    },
    "network": {"trusted_proxies": list, "max_connections": int, "body_seconds": int},
    "auth": {
        "access_token_lifetime": int,
        "database_url": str,
        "client_documents": bool,
        "client_document_hosts": list,
        "registration": bool,
        "registrations_per_address": int,
        "unproven_scope": str,
        "identity_provider": dict,
    },
    "events": {"durability": str},
}
"""Every table and key that garrison.toml may hold, and the type of its value; [policy] beside them has many."""
_POLICY = "policy"

TEMPLATE = """\
# Settings of this installation; the environment beats this file. Without a line the default in the comment holds.

[limits]
# requests_per_minute = 60       # per caller (RATE_LIMIT_REQUESTS_PER_MINUTE)
# tokens_per_hour = 100000       # AI tokens per caller (RATE_LIMIT_TOKENS_PER_HOUR)
# client_requests_per_minute = 0 # all callers of one client together; 0 is no limit
# stranger_requests_per_minute = 120  # failed before they said who they are, per address
# concurrent_calls = 64          # per caller, in each process
# open_streams = 16              # per caller, in each process
# token_counter = "estimate"     # "words" is within a tenth of a real tokenizer, and 30 times as slow
# redis_url = ""                 # share budgets between processes: redis://host:6379/0 (REDIS_URL),
#                                # redis+sentinel://host:port,host:port/service or redis+cluster://host:port,host:port
# on_store_failure = "local"     # when Redis is down: "local" counts per process, "refuse" refuses
# Calls a minute of one tool, per caller, in a table of their own below this one: [limits.tools] get_customer_info=30

[network]
# max_connections = 1000         # to one server at once; those beyond get 503
# body_seconds = 120             # that a request may take to arrive
# trusted_proxies = []           # proxies whose X-Forwarded-For or Forwarded is believed: ["10.0.0.1", "10.1.0.0/16"]

[auth]
# access_token_lifetime = 900    # seconds
# client_documents = true        # clients known by the URL of a metadata document about them (CIMD)
# client_document_hosts = []     # the hosts that such URLs may have, "*.example.com" for all below one; [] is any
# registration = false           # clients may register themselves (needs OAUTH_REGISTRATION_TOKEN if that is set)
# registrations_per_address = 20 # before back-off begins
# unproven_scope = ""            # all that clients that nobody vouches for may get; "" is whatever there is
# database_url = ""              # share it between replicas: postgresql://user@host/name (GARRISON_DATABASE_URL)

# Users sign in at an OpenID Connect provider (docs/authorization-server.md). Whom no rule names may not.
# [auth.identity_provider]
# issuer = "https://login.example.com"
# client_id = "garrison"
# client_secret_file = "identity-provider.secret"  # beside this file, or GARRISON_IDENTITY_PROVIDER_SECRET
# username_claim = ""            # "preferred_username" names users readably
# local_users = false            # may users with a password here sign in too?
# [[auth.identity_provider.allow]]
# scope = "customer:read ticket:create"
# claims = { groups = ["support"] }  # all of these; email_domains = ["example.com"]; or everyone = true

[events]
# durability = "process"         # what a stored event survives: the end of the "process", or a "power" cut too (slower)

# Who may do what; what isn't named is denied. `garrison policy check` lists it, `garrison policy explain` tries it.
# [policy.tools.get_customer_info]
# scopes = ["customer:read"]     # all of these; [] for any valid token
# subjects = ["alex"]            # further conditions: subjects, clients, issuers, arguments
# arguments = { region = ["eu"], amount = { at_most = 100 } }
# [policy.resources."users://{id}/profile"]
# scopes = ["customer:read"]
# [policy.hierarchy]
# "admin:all" = ["customer:read"]
"""


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


@dataclass(frozen=True)
class ClientSettings:
    """How a client finds its server and proves itself; None where nothing was said."""

    client_id: str | None
    client_secret: str | None = field(repr=False)
    issuer: str | None
    ca_file: Path | None
    server_url: str | None
    debug_tls: bool
    logins: Path
    use_keyring: bool
    issuer_shape: str | None = None
    token_audience: str | None = None


@dataclass(frozen=True)
class ModelSettings:
    """Which model to ask and where; None leaves it to the adapter's default."""

    model: str | None
    base_url: str | None
    api_key: str | None = field(repr=False)


def server_settings(home: Path, environ: Mapping[str, str]) -> ServerSettings:
    """Raises `UsageError` for a file or a variable that can't be understood."""
    file = _read_file(home / FILE)
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
    return _policy(_read_file(path), path)


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


def client_settings(environ: Mapping[str, str]) -> ClientSettings:
    # SSL_CERT_FILE is OpenSSL's own: it replaces the system's authorities, and the local one is trusted beside them.
    ca_file = environ.get("TLS_CA_CERT_PATH")
    token_url = environ.get("OAUTH_TOKEN_URL", "")
    return ClientSettings(
        client_id=environ.get("OAUTH_CLIENT_ID") or None,
        client_secret=environ.get("OAUTH_CLIENT_SECRET") or None,
        issuer=environ.get("OAUTH_ISSUER_URL") or token_url.removesuffix("/token") or None,
        ca_file=Path(ca_file) if ca_file else None,
        server_url=environ.get("MCP_SERVER_URL") or None,
        debug_tls=environ.get("DEBUG_SSL", "").lower() in {"1", "true", "yes"},
        logins=_logins(environ),
        use_keyring=_switch(environ, "GARRISON_KEYRING", default=True),
        issuer_shape=environ.get("OAUTH_ISSUER_SHAPE") or None,
        token_audience=environ.get("OAUTH_TOKEN_AUDIENCE") or None,
    )


def _logins(environ: Mapping[str, str]) -> Path:
    """The folder of this user's logins: they belong to the person, not to the folder that a command is typed in."""
    if named := environ.get("GARRISON_LOGINS"):
        return Path(named)
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    base = Path(state) if state.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return base / "garrison"


def _switch(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    word = environ.get(name, "").lower()
    if word not in {"", "on", "off"}:
        raise UsageError(f"{name} is {word!r}", "It can be on or off.")
    return word == "on" if word else default


_PROVIDERS: Mapping[str, tuple[str, str, str]] = {
    # provider: the variables of its key, address and model
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL"),
    "ollama": ("", "OLLAMA_BASE_URL", "OLLAMA_MODEL"),
}
_KEY_PAGES = {"openai": "platform.openai.com/api-keys", "anthropic": "console.anthropic.com/settings/keys"}


_SPEAKS_ANTHROPIC = frozenset({"anthropic", "dspy", "litellm"})
_BY_QUALIFIED_NAME = frozenset({"dspy", "litellm"})


def provider_of(adapter: str, environ: Mapping[str, str]) -> str:
    """Whose models `adapter` asks: its own provider's, or the one that LLM_PROVIDER names, as far as it knows it.

    Raises:
        UsageError: LLM_PROVIDER names none that the adapter knows.
    """
    if adapter == "anthropic":
        return adapter
    adapter = adapter.partition("-")[0]
    chosen = environ.get("LLM_PROVIDER", "openai").lower()
    known = [name for name in _PROVIDERS if name != "anthropic" or adapter in _SPEAKS_ANTHROPIC]
    if adapter == "openai" and chosen == "anthropic":
        return "openai"
    if chosen not in known:
        raise UsageError(f"LLM_PROVIDER is {chosen!r}", f"With {adapter} it can be {', '.join(known)}.")
    return chosen


def model_settings(adapter: str, environ: Mapping[str, str]) -> ModelSettings:
    """The model that `adapter` is to ask.

    Raises:
        UsageError: the provider's key is missing; the hint says which variable and where to get one.
    """
    provider = provider_of(adapter, environ)
    key_name, base_name, model_name = _PROVIDERS[provider]
    base_url, model = environ.get(base_name) or None, environ.get(model_name) or None
    if provider == "ollama":
        base = (base_url or "http://localhost:11434").rstrip("/").removesuffix("/v1")
        return ModelSettings(model or "llama3.2", f"{base}/v1", None)
    api_key = environ.get(key_name) or None
    if not api_key and not _on_this_machine(base_url):
        hint = f"Get a key from https://{_KEY_PAGES[provider]} and export {key_name}=…"
        raise UsageError(
            f"{key_name} is not set", f"{hint} (a server of your own on loopback needs none: {base_name})."
        )
    if model and provider == "anthropic" and adapter in _BY_QUALIFIED_NAME and "/" not in model:
        model = f"anthropic/{model}"
    return ModelSettings(model, base_url, api_key)


def _on_this_machine(url: str | None) -> bool:
    return is_loopback_host(urlsplit(url or "").hostname or "")


def _read_file(path: Path) -> dict[str, dict[str, Any]]:
    """garrison.toml, every table and key of it known. Raises `UsageError`."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    for table, keys in content.items():
        if table == _POLICY:
            continue
        known = _FILE_KEYS.get(table)
        if known is None or not isinstance(keys, dict):
            raise UsageError(f"{path} has an unknown table [{table}]", did_you_mean(table, (*_FILE_KEYS, _POLICY)))
        for key, value in keys.items():
            if key not in known:
                raise UsageError(f"{path} has an unknown key {table}.{key}", did_you_mean(key, known))
            if type(value) is not known[key]:
                raise UsageError(f"{path}: {table}.{key} must be of type {known[key].__name__}")
    return content


def _policy(file: Mapping[str, Any], path: Path) -> Policy | None:
    if _POLICY not in file:
        return None
    try:
        return from_table(file[_POLICY])
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
