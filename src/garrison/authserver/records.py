"""What the store keeps, as the endpoints see it. Times are seconds since the epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Method = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]
"""How a client authenticates at /token (RFC 7591 §2, token_endpoint_auth_method): each client by exactly one."""

METHODS: tuple[Method, ...] = get_args(Method)
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")
CLIENT_PREFIX = "client_"
"""Every client_id begins with it and no username may, so that one `sub` is never two (RFC 9068 §5)."""


Source = Literal["operator", "registration", "document"]
"""Who says what a client is: the operator, the client itself at /register (RFC 7591), or the document at its URL."""


@dataclass(frozen=True)
class Client:
    """A registered client.

    Attributes:
        resources: what it may have tokens for; empty means every resource that the server knows.
        introspects: the resources that it is the resource server of (RFC 7662).
        jwks, jwks_uri: its public keys for private_key_jwt, inline or where they are; one of the two, or neither.
        source: who says all this.
        fresh_until: until when its document need not be fetched again; 0 for clients without one.
    """

    client_id: str
    name: str
    method: Method
    grants: frozenset[str]
    scope: frozenset[str]
    redirect_uris: tuple[str, ...]
    resources: tuple[str, ...]
    disabled: bool
    created_at: float
    introspects: tuple[str, ...] = ()
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str = ""
    source: Source = "operator"
    fresh_until: float = 0.0

    @property
    def confidential(self) -> bool:
        return self.method != "none"

    @property
    def has_secret(self) -> bool:
        return self.method in ("client_secret_basic", "client_secret_post")

    @property
    def vouched_for(self) -> bool:
        """Whether somebody has checked who this is, and it can prove to be it."""
        return self.confidential and self.source == "operator"


@dataclass(frozen=True)
class User:
    """Somebody who may sign in: `external` with the identity provider, and else with a password here."""

    username: str
    scope: frozenset[str]
    disabled: bool
    created_at: float
    external: bool = False


@dataclass(frozen=True)
class Session:
    """A signed-in browser; `key` is the hash that the store knows its cookie by."""

    key: str
    user: User
    created_at: float


@dataclass(frozen=True)
class Family:
    """One consented grant, and all codes and refresh tokens that came of it (RFC 9700 §4.14.2)."""

    id: str
    client_id: str
    username: str
    session: str
    scope: frozenset[str]
    resource: str
    created_at: float
    expires_at: float
    revoked: bool


@dataclass(frozen=True)
class Code:
    """An authorization code without its value."""

    key: str
    family: Family
    redirect_uri: str
    redirect_uri_given: bool
    code_challenge: str
    expires_at: float
    used: bool


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token without its value."""

    key: str
    family: Family
    expires_at: float
    used: bool
