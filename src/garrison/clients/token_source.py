"""The token of one session: got once however many ask, renewed before it ends, replaced if refused, widened if need be.

The lock is held while a token is got, never while a request is under way, so that calls on one session run side by side
and a long stream holds nobody up. (The SDK's OAuth provider holds its lock across the whole request, which is why this
isn't it; it also fetches everything again when a token without refresh token ends, and verifies no token.)

Sessions that share a storage, in one process or in several, share the token: whoever holds the storage's lock looks for
a fresher one first, so one of them asks the authorization server and the others read what it got.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio

from garrison.base.clock import Clock
from garrison.base.errors import GarrisonError
from garrison.clients import scope_selection
from garrison.clients.discovery import Discovery, Found
from garrison.clients.errors import AuthorizationFailed, RedirectTaken, ScopeRefused, TokenRefused
from garrison.clients.grants import Grant, TokenEndpoint
from garrison.clients.registration import Identity
from garrison.clients.token_request import Client, TokenResponse
from garrison.clients.tokens import Token, TokenKey, TokenStorage
from garrison.clients.verification import Verifier
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.challenge import Challenge

_UNKNOWN_CLIENT = "invalid_client"


@dataclass(frozen=True)
class Means:
    """What a token is got with."""

    discovery: Discovery
    identity: Identity
    endpoint: TokenEndpoint
    grant: Grant
    verifier: Verifier
    storage: TokenStorage
    by_person: bool


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
        self.client: Client | None = None
        self.current: Token | None = None

    @property
    def key(self) -> TokenKey | None:
        """Where the current token is kept; None before there is one."""
        if self.found is None or self.client is None:
            return None
        return TokenKey(self.found.server.issuer, self.found.resource.resource, self.client.client_id)

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
            return await self._get(used, challenge)

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

    async def _get(self, used: Token | None, challenge: Challenge | None) -> Token:
        try:
            # A server that refuses its token may have moved to another authorization server: look again.
            if self.found is None or challenge is not None:
                before, self.found = self.found, await self._means.discovery.find(challenge)
                if before and before.server.issuer != self.found.server.issuer:
                    self._asked = self._configured  # what another server granted says nothing here
            found = self.found
            scopes = self._asked if self._asked is not None else scope_selection.wanted(challenge, found)

            async def get(client: Client) -> Token:
                kept = await self._kept(found, client, self._configured or frozenset())
                return (
                    await self._reused(found, client, kept, used)
                    or await self._refreshed(found, client, kept)
                    or await self._granted(found, client, scopes)
                )

            return await self._as_client(found, get)
        except GarrisonError:
            self.found = None  # whatever was found has led nowhere: look again next time
            raise

    async def _as_client(self, found: Found, get: Callable[[Client], Awaitable[Token]]) -> Token:
        """What `get` gets as the client that we are there; a registration that is no good is made anew, once."""
        client = await self._means.identity.client(found)
        try:
            return await self._alone(found, client, get)
        except (TokenRefused, RedirectTaken) as error:
            forgotten = isinstance(error, RedirectTaken) or error.error == _UNKNOWN_CLIENT
            if not forgotten or not await self._means.identity.forget(found, client):
                raise
        return await self._alone(found, await self._means.identity.client(found), get)

    async def _alone(self, found: Found, client: Client, get: Callable[[Client], Awaitable[Token]]) -> Token:
        """What `get` gets while nobody else, in any process, gets the same token; kept, and ours from now on."""
        key = _key(found, client)
        async with self._means.storage.lock(key):
            token = await get(client)
            await self._means.storage.save(key, token)
        self.client = client
        return token

    async def _kept(self, found: Found, client: Client, scopes: frozenset[str]) -> Token | None:
        """The stored token, whoever got it, if it allows `scopes`."""
        kept = await self._means.storage.load(_key(found, client))
        return kept if kept and scope_rfc6749.covers(kept.scopes, scopes) else None

    async def _reused(self, found: Found, client: Client, kept: Token | None, used: Token | None) -> Token | None:
        """`kept`, if it is another than the one that was `used`, and still verifies."""
        if kept is None or not kept.is_fresh(self._clock()) or (used and kept.access_token == used.access_token):
            return None
        lifetime = None if kept.expires_at is None else kept.expires_at - self._clock()
        response = TokenResponse(kept.access_token, lifetime, kept.scopes, kept.refresh_token)
        try:
            return await self._means.verifier.verify(found, client.client_id, response, kept.scopes)
        except AuthorizationFailed:
            return None

    async def _refreshed(self, found: Found, client: Client, old: Token | None) -> Token | None:
        """The successor of `old` (RFC 6749 §6); None if there can be none, and a new grant is needed."""
        if old is None or old.refresh_token is None:
            return None
        try:
            response = await self._means.endpoint.refresh(found, client, old.refresh_token)
        except TokenRefused as error:
            if error.error == _UNKNOWN_CLIENT:
                raise
            return None
        if response.refresh_token is None:  # the server doesn't rotate
            response = replace(response, refresh_token=old.refresh_token)
        return await self._means.verifier.verify(found, client.client_id, response, old.scopes)

    async def _granted(self, found: Found, client: Client, scopes: frozenset[str]) -> Token:
        try:
            token = await self._grant(found, client, scopes)
        except TokenRefused as error:
            if error.error != "invalid_scope" or self._configured is not None or not scopes:
                raise
            # The server named scopes that this client can't have: take what it gives unasked.
            token = await self._grant(found, client, frozenset())
        self._asked = self._asked or token.scopes
        return token

    async def _widen(self, needed: frozenset[str], used: Token) -> Token:
        found = self.found
        if found is None:
            raise ScopeRefused(tuple(sorted(needed)))
        wanted = needed | used.scopes | (self._asked or frozenset())

        async def get(client: Client) -> Token:
            kept = await self._kept(found, client, needed | used.scopes)
            return await self._reused(found, client, kept, used) or await self._grant(found, client, wanted)

        try:
            token = await self._as_client(found, get)
        except TokenRefused as error:
            raise ScopeRefused(tuple(sorted(needed))) from error
        if not scope_rfc6749.covers(token.scopes, needed):
            raise ScopeRefused(tuple(sorted(needed - token.scopes)))
        self._asked = wanted
        return token

    async def _grant(self, found: Found, client: Client, scopes: frozenset[str]) -> Token:
        asked = scope_selection.with_refresh_token(scopes, found) if self._means.by_person else scopes
        return await self._means.verifier.verify(
            found, client.client_id, await self._means.grant(found, client, asked), scopes
        )


def _key(found: Found, client: Client) -> TokenKey:
    return TokenKey(found.server.issuer, found.resource.resource, client.client_id)
