"""What `connect` was told, checked and made into a token source."""

from dataclasses import dataclass, field

from garrison.base.clock import Clock
from garrison.base.errors import UsageError
from garrison.base.fetch import Fetcher
from garrison.clients.discovery import Discovery
from garrison.clients.grants import AuthorizationCode, ClientCredentials, TokenEndpoint
from garrison.clients.login import Login
from garrison.clients.token_request import Client
from garrison.clients.token_source import Means, TokenSource
from garrison.clients.tokens import MemoryTokens, TokenStorage
from garrison.clients.verification import Verifier
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.errors import InvalidScope


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

    def __post_init__(self) -> None:
        if self.client_secret is not None and not self.client_id:
            raise UsageError("a client_secret without a client_id", "Give both (OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET).")
        if self.client_secret is not None and not self.issuer:
            raise UsageError(
                "a client_secret needs its issuer, or any server could ask for it",
                "Give issuer (OAUTH_ISSUER_URL): the authorization server where the client is registered.",
            )

    def scopes(self) -> frozenset[str] | None:
        try:
            return None if self.scope is None else scope_rfc6749.parse(self.scope)
        except InvalidScope as error:
            raise UsageError(f"scope: {error.description}") from error


def token_source(wanted: Wanted, fetcher: Fetcher, clock: Clock) -> TokenSource | None:
    """The token source of one session; None without a client: such a session has no token to show."""
    if not wanted.client_id:
        return None
    client = Client(wanted.client_id, wanted.client_secret)
    discovery = Discovery(fetcher, wanted.url, wanted.issuer, private_addresses=wanted.private_addresses)
    endpoint = TokenEndpoint(fetcher, client)
    by_person = wanted.login is not None or client.client_secret is None
    login = wanted.login or Login()
    grant = AuthorizationCode(endpoint, login, discovery) if by_person else ClientCredentials(endpoint)
    verifier = Verifier(fetcher, clock, discovery.check)
    means = Means(discovery, endpoint, grant, verifier, wanted.storage or MemoryTokens())
    return TokenSource(means, wanted.scopes(), clock)
