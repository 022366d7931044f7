"""What the store keeps, as the endpoints see it. Times are seconds since the epoch."""

from dataclasses import dataclass
from typing import Literal, get_args

Method = Literal["client_secret_basic", "client_secret_post", "none"]
"""How a client authenticates at /token (RFC 7591 §2, token_endpoint_auth_method): each client by exactly one."""

METHODS: tuple[Method, ...] = get_args(Method)
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")
CLIENT_PREFIX = "client_"
"""Every client_id begins with it and no username may, so that one `sub` is never two (RFC 9068 §5)."""


@dataclass(frozen=True)
class Client:
    """A registered client; `resources` empty means every resource that the server knows."""

    client_id: str
    name: str
    method: Method
    grants: frozenset[str]
    scope: frozenset[str]
    redirect_uris: tuple[str, ...]
    resources: tuple[str, ...]
    disabled: bool
    created_at: float

    @property
    def confidential(self) -> bool:
        return self.method != "none"


@dataclass(frozen=True)
class User:
    username: str
    scope: frozenset[str]
    disabled: bool
    created_at: float


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
