"""The token of one session: got once however many ask, renewed before it ends, replaced if refused, widened if need be.

The lock is held while a token is got, never while a request is under way, so that calls on one session run side by side
and a long stream holds nobody up. (The SDK's OAuth provider holds its lock across the whole request, which is why this
isn't it; it also fetches everything again when a token without refresh token ends, and verifies no token.)
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio

from garrison.base.clock import Clock
from garrison.base.errors import GarrisonError
from garrison.clients.discovery import Discovery, Found
from garrison.clients.errors import AuthorizationFailed, ScopeRefused, TokenRefused
from garrison.clients.grants import Grant, TokenEndpoint
from garrison.clients.token_request import TokenResponse
from garrison.clients.tokens import Token, TokenKey, TokenStorage
from garrison.clients.verification import Verifier
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.challenge import Challenge
from garrison.oauth.errors import InvalidScope


@dataclass(frozen=True)
class Means:
    """What a token is got with."""

    discovery: Discovery
    endpoint: TokenEndpoint
    grant: Grant
    verifier: Verifier
    storage: TokenStorage


class TokenSource:
    """Gets and keeps the token of one session.

    Args:
        means: how to get it.
        scopes: what to ask for; None for what the server says is needed.
        clock: seconds since the epoch.
    """

    def __init__(self, means: Means, scopes: frozenset[str] | None, clock: Clock) -> None:
        self._means = means
        self._configured = scopes
        self._asked = scopes
        self._clock = clock
        self._lock = anyio.Lock()
        self._rounds = 0
        self._failed: tuple[frozenset[str], GarrisonError] | None = None
        self.found: Found | None = None
        self.current: Token | None = None

    async def token(self) -> Token | None:
        """The token for the next request; None as long as no server has asked for one.

        Raises:
            GarrisonError: it had to be renewed, and that failed.
        """
        token = self.current
        return token if token is None or token.is_fresh(self._clock()) else await self.replace(token)

    async def replace(self, used: Token | None, challenge: Challenge | None = None) -> Token:
        """Another token than `used`, which was refused or is about to end. Raises `GarrisonError`."""

        async def get() -> Token:
            return await self._get(challenge)

        return await self._once(frozenset(), used, lambda token: token.is_fresh(self._clock()), get)

    async def step_up(self, needed: frozenset[str], used: Token) -> Token:
        """A token that allows `needed` besides all that `used` allows (MCP authorization, step-up).

        Raises:
            ScopeRefused: the authorization server doesn't grant it.
            GarrisonError: it could not be asked.
        """

        async def get() -> Token:
            return await self._widen(needed, used)

        return await self._once(needed, used, lambda token: scope_rfc6749.covers(token.scopes, needed), get)

    async def _once(
        self,
        purpose: frozenset[str],
        used: Token | None,
        fits: Callable[[Token], bool],
        get: Callable[[], Awaitable[Token]],
    ) -> Token:
        """`get`, unless another caller did, or failed to for the same purpose, while this one waited."""
        round_seen = self._rounds
        async with self._lock:
            if self.current is not None and self.current is not used and fits(self.current):
                return self.current
            if self._rounds != round_seen and self._failed and self._failed[0] == purpose:
                raise self._failed[1]
            self._failed = None
            try:
                self.current = await get()
            except GarrisonError as error:
                self._failed = purpose, error
                raise
            finally:
                self._rounds += 1
            return self.current

    async def _get(self, challenge: Challenge | None) -> Token:
        try:
            found = self.found or await self._means.discovery.find(challenge)
            token = (
                await self._stored(found)
                or await self._refreshed(found, self.current)
                or await self._granted(found, challenge)
            )
        except GarrisonError:
            self.found = None  # whatever was found has led nowhere: look again next time
            raise
        self.found = found
        await self._means.storage.save(self._key(found), token)
        return token

    async def _stored(self, found: Found) -> Token | None:
        """A token of an earlier session, if it still verifies; for a session that has had none yet."""
        stored = None if self.current else await self._means.storage.load(self._key(found))
        if stored is None or not scope_rfc6749.covers(stored.scopes, self._configured or ()):
            return None
        if not stored.is_fresh(self._clock()):
            return await self._refreshed(found, stored)
        lifetime = None if stored.expires_at is None else stored.expires_at - self._clock()
        kept = TokenResponse(stored.access_token, lifetime, stored.scopes, stored.refresh_token)
        try:
            return await self._verified(found, kept, stored.scopes)
        except AuthorizationFailed:
            return None

    async def _refreshed(self, found: Found, old: Token | None) -> Token | None:
        """The successor of `old` (RFC 6749 §6); None if there can be none, and a new grant is needed."""
        if old is None or old.refresh_token is None:
            return None
        try:
            response = await self._means.endpoint.refresh(found, old.refresh_token)
        except TokenRefused:
            return None
        if response.refresh_token is None:  # the server doesn't rotate
            response = replace(response, refresh_token=old.refresh_token)
        return await self._verified(found, response, old.scopes)

    async def _granted(self, found: Found, challenge: Challenge | None) -> Token:
        scopes = self._asked if self._asked is not None else _wanted(challenge, found)
        try:
            token = await self._grant(found, scopes)
        except TokenRefused as error:
            if error.error != "invalid_scope" or self._configured is not None or not scopes:
                raise
            # The server named scopes that this client can't have: take what it gives unasked.
            token = await self._grant(found, frozenset())
        self._asked = self._asked or token.scopes
        return token

    async def _widen(self, needed: frozenset[str], used: Token) -> Token:
        if self.found is None:
            raise ScopeRefused(tuple(sorted(needed)))
        wanted = needed | used.scopes | (self._asked or frozenset())
        try:
            token = await self._grant(self.found, wanted)
        except TokenRefused as error:
            raise ScopeRefused(tuple(sorted(needed))) from error
        if not scope_rfc6749.covers(token.scopes, needed):
            raise ScopeRefused(tuple(sorted(needed - token.scopes)))
        self._asked = wanted
        await self._means.storage.save(self._key(self.found), token)
        return token

    async def _grant(self, found: Found, scopes: frozenset[str]) -> Token:
        return await self._verified(found, await self._means.grant(found, scopes), scopes)

    async def _verified(self, found: Found, response: TokenResponse, asked: frozenset[str]) -> Token:
        return await self._means.verifier.verify(found, self._means.endpoint.client.client_id, response, asked)

    def _key(self, found: Found) -> TokenKey:
        return TokenKey(found.server.issuer, found.resource.resource, self._means.endpoint.client.client_id)


def _wanted(challenge: Challenge | None, found: Found) -> frozenset[str]:
    """MCP authorization, scope selection: what the challenge names, or else all that the resource supports."""
    try:
        named = scope_rfc6749.parse(challenge.params.get("scope")) if challenge else frozenset()
    except InvalidScope:
        named = frozenset()
    return named or frozenset(found.resource.scopes_supported)
