"""The authorization server's settings: frozen, checked when they are made, cheap to import."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from garrison.base.addresses import is_loopback_host
from garrison.base.errors import UsageError
from garrison.base.peers import Peers

if TYPE_CHECKING:  # joserfc costs 150 ms, and `garrison --help` reads settings
    from garrison.authserver.federation.settings import IdentityProvider
    from garrison.oauth.jwks import SigningKey

MIN_SECRET = 32
_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+")
MAX_ACCESS_TOKEN_LIFETIME = 3600
MAX_CODE_LIFETIME = 60
MAX_REFRESH_GRACE = 60
DAY = 86_400


@dataclass(frozen=True)
class PasswordCost:
    """Argon2id's parameters; the defaults are RFC 9106 §4's second choice."""

    time: int = 3
    memory_kib: int = 65_536
    parallelism: int = 4


@dataclass(frozen=True, kw_only=True)
class AuthServerSettings:
    """What one authorization server is.

    Attributes:
        issuer: its one name (RFC 8414 §2), https, or http on a loopback host; never taken from a request.
        database_url: a SQLAlchemy URL, or the path of a SQLite file.
        secret: at least 32 random bytes, for HMACs over forms, sealed requests and refresh-token successors, and to
            seal the signing keys in the database; the same one for all replicas.
        resources: the resources that tokens can be for (RFC 8707), each with the scopes it knows.
        signing_keys: what an empty database begins with, the signing one first; none: a new one is made.
        scope_descriptions: what a scope allows, in plain words, for the consent page.
        access_token_lifetime: seconds, at most an hour.
        code_lifetime: seconds, at most 60.
        sign_in_lifetime: seconds from the authorization request to the user's decision.
        session_lifetime: seconds that a browser stays signed in.
        refresh_idle_lifetime: seconds after which an unused refresh token is dead.
        refresh_absolute_lifetime: seconds after which a grant is dead, however often it was refreshed.
        refresh_grace: seconds in which the same client, its answer lost, gets the same successor again; 0 is off.
        password_cost: Argon2id's parameters.
        free_failures_per_account, free_failures_per_address: wrong passwords before back-off begins.
        trusted_proxies: addresses or networks of the proxies whose X-Forwarded-For or Forwarded is believed.
        max_form_bytes: the longest form that is read.
        client_documents: whether a client may be known by the URL of a metadata document about it (CIMD).
        client_document_hosts: the hosts that such URLs may have, `*.` before one for all below it; empty means any.
        registration: whether clients may register themselves at /register (RFC 7591).
        registration_token: what they must show to do so (the initial access token), if anything.
        registrations_per_address: registrations from one address before back-off begins.
        unproven_scope: all that clients that nobody vouches for may get; None means whatever the resources know.
        identity_provider: an external OpenID Connect provider that users sign in at (federation/settings.py).
    """

    issuer: str
    database_url: str = field(repr=False)
    secret: bytes = field(repr=False)
    resources: Mapping[str, frozenset[str]]
    signing_keys: Sequence[SigningKey] = field(default=(), repr=False)
    scope_descriptions: Mapping[str, str] = field(default_factory=dict)
    access_token_lifetime: int = 900
    code_lifetime: int = 60
    sign_in_lifetime: int = 600
    session_lifetime: int = 8 * 3600
    refresh_idle_lifetime: int = 14 * DAY
    refresh_absolute_lifetime: int = 90 * DAY
    refresh_grace: int = 10
    password_cost: PasswordCost = PasswordCost()
    free_failures_per_account: int = 5
    free_failures_per_address: int = 20
    trusted_proxies: Sequence[str] = ()
    max_form_bytes: int = 16_384
    client_documents: bool = True
    client_document_hosts: Sequence[str] = ()
    registration: bool = False
    registration_token: str | None = field(default=None, repr=False)
    registrations_per_address: int = 20
    unproven_scope: frozenset[str] | None = None
    identity_provider: IdentityProvider | None = None

    def __post_init__(self) -> None:
        check_issuer(self.issuer)
        if len(self.secret) < MIN_SECRET:
            raise UsageError(f"the authorization server's secret is shorter than {MIN_SECRET} bytes")
        if not self.resources:
            raise UsageError("the authorization server knows no resource that a token could be for")
        _check_range("access_token_lifetime", self.access_token_lifetime, 1, MAX_ACCESS_TOKEN_LIFETIME)
        _check_range("code_lifetime", self.code_lifetime, 1, MAX_CODE_LIFETIME)
        _check_range("refresh_grace", self.refresh_grace, 0, MAX_REFRESH_GRACE)
        Peers(self.trusted_proxies)
        for host in self.client_document_hosts:
            _check_host(host)
        if self.registration_token is not None and len(self.registration_token) < MIN_SECRET:
            raise UsageError(f"registration_token is shorter than {MIN_SECRET} characters")

    @property
    def path(self) -> str:
        """The issuer's path without a slash at its end: what the paths of all endpoints begin with."""
        return urlsplit(self.issuer).path.rstrip("/")

    @property
    def secure(self) -> bool:
        return self.issuer.startswith("https://")

    @property
    def local_users(self) -> bool:
        """Whether users sign in here, with a password."""
        return self.identity_provider is None or self.identity_provider.local_users

    def takes_users(self, *, external: bool) -> bool:
        """Whether users of that kind have any rights here: those of an identity provider, or those with a password."""
        return self.identity_provider is not None if external else self.local_users

    def grant_lifetime(self, *, external: bool) -> int:
        """Seconds that a grant of such a user can live: the provider must be asked now and then whether they left."""
        if not external or self.identity_provider is None:
            return self.refresh_absolute_lifetime
        return min(self.refresh_absolute_lifetime, self.identity_provider.grant_lifetime)

    def url(self, endpoint: str) -> str:
        return self.issuer.rstrip("/") + endpoint


def check_issuer(issuer: str) -> None:
    """Raises `UsageError` for what can't be an issuer."""
    parts = urlsplit(issuer)
    loopback_http = parts.scheme == "http" and is_loopback_host(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or loopback_http):
        raise UsageError(f"the issuer {issuer} is neither https nor http on a loopback host")
    if "?" in issuer or "#" in issuer or "@" in parts.netloc or "//" in parts.path:
        raise UsageError(
            "the issuer must have no query, fragment, user name or empty path segment (RFC 8414 section 2)"
        )


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{name} must be from {least} to {most} seconds, not {value}")


def _check_host(host: str) -> None:
    if not _HOST.fullmatch(host):
        raise UsageError(f"client_document_hosts: {host} is neither a host in lower case nor *. and a domain")
