"""What `connect` was told, checked and made into a token source."""

from dataclasses import dataclass, field
from pathlib import Path

from garrison.base.errors import UsageError
from garrison.base.fetch import Fetcher
from garrison.clients.client_assertion import read_key
from garrison.clients.discovery import Discovery
from garrison.clients.grants import AuthorizationCode, ClientCredentials, TokenEndpoint
from garrison.clients.login import Login
from garrison.clients.registration import Identity, Newcomer, PreRegistered, check_metadata_url
from garrison.clients.retry_after import Timing
from garrison.clients.token_request import Client
from garrison.clients.token_source import Means, TokenSource
from garrison.clients.tokens import MemoryTokens, TokenStorage
from garrison.clients.verification import Verifier
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.errors import InvalidScope
from garrison.oauth.issuer_shapes import ISSUER_SHAPES
from garrison.oauth.jwks import SigningKey


@dataclass(frozen=True)
class Wanted:
    """Who asks for which token, and where; see `session.connect`.

    Raises:
        UsageError: the parts don't fit together.
    """

    url: str
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    issuer: str | None = None
    scope: str | None = None
    login: Login | None = None
    storage: TokenStorage | None = None
    private_addresses: bool = False
    private_key_file: Path | None = None
    client_metadata_url: str | None = None
    omit_resource: bool = False
    legacy_authorization: bool = False
    issuer_shape: str | None = None
    token_audience: str | None = None

    def __post_init__(self) -> None:
        if self.client_secret is not None and not self.client_id:
            raise UsageError("a client_secret without a client_id", "Give both (OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET).")
        if self.private_key_file is not None and (not self.client_id or self.client_secret is not None):
            raise UsageError("a private key needs a client_id, and no secret", "Give client_id and the key's file.")
        if self._is_confidential and not self.issuer:
            raise UsageError(
                "a client_secret or a private key needs its issuer, or any server could ask for it",
                "Give issuer (OAUTH_ISSUER_URL): the authorization server where the client is registered.",
            )
        if self.client_metadata_url and self.client_id:
            raise UsageError("a client has an id or a metadata document, not both", "Leave one of them out.")
        if self.client_metadata_url:
            check_metadata_url(self.client_metadata_url)
        if (self.issuer_shape or self.token_audience) and not self.issuer:
            raise UsageError(
                "whose tokens have that shape, or that audience?",
                "Give issuer (OAUTH_ISSUER_URL): they are taken so from that one alone.",
            )
        if self.issuer_shape and self.issuer_shape not in ISSUER_SHAPES:
            raise UsageError(
                f"there is no issuer shape {self.issuer_shape!r}", f"The shapes are: {', '.join(ISSUER_SHAPES)}."
            )

    @property
    def _is_confidential(self) -> bool:
        return self.client_secret is not None or self.private_key_file is not None

    @property
    def by_person(self) -> bool:
        return self.login is not None or not self._is_confidential

    @property
    def is_somebody(self) -> bool:
        """Whether there is a client at all, or a person whose login makes one."""
        return bool(self.client_id or self.client_metadata_url or self.login)

    def key(self) -> SigningKey | None:
        return read_key(self.private_key_file) if self.private_key_file else None

    def scopes(self) -> frozenset[str] | None:
        try:
            return None if self.scope is None else scope_rfc6749.parse(self.scope)
        except InvalidScope as error:
            raise UsageError(f"scope: {error.description}") from error


def token_source(wanted: Wanted, fetcher: Fetcher, timing: Timing) -> TokenSource | None:
    """The token source of one session; None without a client and a login: such a session has no token to show."""
    if not wanted.is_somebody:
        return None
    discovery = Discovery(
        fetcher,
        wanted.url,
        wanted.issuer,
        private_addresses=wanted.private_addresses,
        omit_resource=wanted.omit_resource,
        legacy_authorization=wanted.legacy_authorization,
    )
    storage, login = wanted.storage or MemoryTokens(), wanted.login or Login()
    identity: Identity
    if wanted.client_id:
        identity = PreRegistered(Client(wanted.client_id, wanted.client_secret, wanted.key()))
    else:
        identity = Newcomer(fetcher, discovery, storage, login, timing.clock, wanted.client_metadata_url)
    endpoint = TokenEndpoint(fetcher, timing)
    means = Means(
        discovery,
        identity,
        endpoint,
        AuthorizationCode(endpoint, login, discovery) if wanted.by_person else ClientCredentials(endpoint),
        Verifier(
            fetcher,
            timing.clock,
            discovery.check,
            ISSUER_SHAPES[wanted.issuer_shape or "rfc9068"],
            wanted.token_audience,
        ),
        storage,
        wanted.by_person,
    )
    return TokenSource(means, wanted.scopes(), timing.clock)
