"""What one issuer's tokens are worth: a JWT by the issuer's keys, and, where it is to be asked, by its word as well."""

from collections.abc import Mapping
from dataclasses import dataclass

from garrison.base.clock import Clock
from garrison.base.fetch import Fetcher
from garrison.guard.introspect import Introspector
from garrison.guard.issuers import Issuer
from garrison.guard.keys import IssuerKeys
from garrison.oauth import access_token, token_claims
from garrison.oauth.access_token import AccessToken
from garrison.oauth.errors import InvalidToken, UnknownKey
from garrison.oauth.introspection import process_introspection
from garrison.oauth.token_claims import TokenShape

LEEWAY = 30
"""Seconds that the issuer's clock may differ by."""
REMEMBERED_FOR = 60.0
"""Seconds that a verified token is believed without looking at its signature again."""
REVOKED_WITHIN = 5.0
"""Seconds after which, at the latest, a revoked token is refused, where its issuer is asked."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that is good from `since` (a time that lies behind) until `until`, and then to be verified anew.

    Attributes:
        asked: whether the issuer was asked about it.
    """

    token: AccessToken
    since: float
    until: float
    asked: bool


class IssuerVerifier:
    """Judges the tokens of one issuer.

    Args:
        resource: the audience of its tokens, where the issuer's settings name no other.
    """

    def __init__(self, issuer: Issuer, *, resource: str, fetcher: Fetcher, clock: Clock) -> None:
        self._issuer = issuer
        self._shape = issuer.shape()
        self._answer_shape = TokenShape(
            # RFC 7662 §2.2 has names of its own, whatever the issuer's JWTs have.
            scope_claims=(*issuer.scope_claims, "scope"),
            client_id_claims=(*issuer.client_id_claims, "client_id"),
        )
        self._audience = issuer.audience or resource
        self._keys = IssuerKeys(issuer.url, fetcher, clock, jwks_uri=issuer.jwks_uri)
        self._clock = clock
        self._introspector: Introspector | None = None
        if issuer.introspection:
            self._introspector = Introspector(issuer.url, issuer.introspection, fetcher, clock)

    async def verify_jwt(self, token: str, digest: bytes, address: str) -> Verified:
        """Judge a token that says that it is this issuer's, and came from `address`.

        Raises:
            InvalidToken: it is no good.
            Unavailable: nobody can tell at the moment.
        """
        try:
            found = self._judge(token, await self._keys.get())
        except UnknownKey as unknown:
            found = self._judge(token, await self._keys.get(unknown.kid))
        if self._introspector:
            return await self.ask(token, digest, found, address)
        now = self._clock()
        return Verified(found, now, min(now + REMEMBERED_FOR, found.expires_at + LEEWAY), asked=False)

    async def verify_opaque(self, token: str, digest: bytes, address: str) -> Verified:
        """Judge a token that says nothing, by the issuer's word alone. Raises as `verify_jwt` does."""
        if len(token) > access_token.MAX_LENGTH:
            raise InvalidToken("the token is malformed")
        return await self.ask(token, digest, None, address)

    async def ask(
        self, token: str, digest: bytes, found: AccessToken | None, address: str, early: float = 0.0
    ) -> Verified:
        """Judge a token by the issuer's word.

        Args:
            token: as it came.
            digest: a hash of it.
            found: what it says, if it is a JWT that was verified.
            address: where it came from.
            early: seconds before the end of its last answer's time in which the issuer is asked anew.

        Raises:
            InvalidToken: it is no good.
            Unavailable: the issuer gave no answer.
        """
        settings = self._issuer.introspection
        if not self._introspector or not settings:
            raise InvalidToken("the token is malformed")
        answer = await self._introspector.ask(
            token, digest, signed=found is not None, address=address, max_age=REVOKED_WITHIN - early
        )
        claims = process_introspection(
            answer.claims,
            found.claims if found else {},
            issuer=self._issuer.url,
            audience=self._audience,
            now=self._clock(),
            leeway=LEEWAY,
            insecure_absent_audience=settings.insecure_answers_without_audience_are_believed,
        )
        verified = found or token_claims.access_token(claims, self._answer_shape, self._issuer.url)
        # Counted from when the issuer was asked, not from when it answered: what it said may be as old as that.
        expires_at = min(verified.expires_at, int(claims["exp"])) + LEEWAY
        return Verified(verified, answer.asked_at, min(answer.asked_at + REVOKED_WITHIN, expires_at), asked=True)

    def _judge(self, token: str, keys: Mapping[str, Mapping[str, object]]) -> AccessToken:
        return access_token.verify(
            token,
            keys,
            issuer=self._issuer.url,
            audience=self._audience,
            now=self._clock(),
            leeway=LEEWAY,
            algorithms=self._issuer.algorithms,
            shape=self._shape,
        )
