"""An issuer's public keys (RFC 8414 metadata, then RFC 7517 key set): fetched when wanted, kept while they may be.

Whoever sends tokens decides nothing here but *when* one fetch may happen: only configured issuers are asked, one fetch
at a time serves all who wait, and none starts within `BACK_OFF` of the one before, whatever kids are made up.
"""

import math
from collections.abc import Mapping
from typing import Any

import anyio

from garrison.base.clock import Clock
from garrison.base.errors import FetchError
from garrison.base.fetch import Fetcher
from garrison.guard.discovery import discover
from garrison.guard.refusal import Unavailable
from garrison.oauth import jwks
from garrison.oauth.errors import MetadataError

Keys = Mapping[str, Mapping[str, Any]]

MAX_AGE = 300.0
"""Seconds after which keys are fetched again, so that one taken out of the set stops being believed."""
BACK_OFF = 10.0
"""Seconds between two fetches at the least, failed ones too."""
OUTAGE_LIMIT = 3600.0
"""Seconds that keys are believed while the issuer can't be reached; as long as the longest access token."""
FETCH_TIMEOUT = 10.0
"""Seconds for a whole fetch: up to three places of metadata, then the key set."""


class IssuerKeys:
    """The keys of one issuer.

    Args:
        jwks_uri: where they are; by default where the issuer's metadata says.
    """

    def __init__(self, issuer: str, fetcher: Fetcher, clock: Clock, *, jwks_uri: str | None = None) -> None:
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._fetcher = fetcher
        self._clock = clock
        self._lock = anyio.Lock()
        self._keys: Keys = {}
        self._fetched_at = self._attempted_at = -math.inf
        self._failure = "not fetched yet"

    async def get(self, unknown_kid: str | None = None) -> Keys:
        """The public keys by kid; with `unknown_kid`, fetched anew if that isn't among them (and it's time).

        Raises:
            Unavailable: there are none to go by.
        """
        if self._is_worth_waiting(unknown_kid):
            async with self._lock:
                if self._due(unknown_kid):  # else somebody fetched while we waited
                    await self._refresh()
        if not self._believable():
            wait = max(1, math.ceil(self._attempted_at + BACK_OFF - self._clock()))
            raise Unavailable(
                "Access tokens can't be verified at the moment: the authorization server can't be reached.",
                reason=f"no keys of {self._issuer}: {self._failure}",
                retry_after=wait,
            )
        return self._keys

    def _is_worth_waiting(self, unknown_kid: str | None) -> bool:
        """For a fetch of one's own, or for one under way that brings what is missing."""
        if self._lock.locked():
            return unknown_kid is not None or not self._believable()
        return self._due(unknown_kid)

    def _due(self, unknown_kid: str | None) -> bool:
        if self._within(self._attempted_at, BACK_OFF):
            return False
        return not self._within(self._fetched_at, MAX_AGE) or (
            unknown_kid is not None and unknown_kid not in self._keys
        )

    def _believable(self) -> bool:
        return self._within(self._fetched_at, OUTAGE_LIMIT)

    def _within(self, since: float, seconds: float) -> bool:
        """A clock that was set back must not make anything look new for longer."""
        return 0 <= self._clock() - since < seconds

    async def _refresh(self) -> None:
        self._attempted_at = self._clock()
        try:
            # Shielded: the caller for whom it began may go away, and those who wait with it must not start anew.
            with anyio.fail_after(FETCH_TIMEOUT, shield=True):
                self._keys = await self._fetch()
            self._fetched_at = self._clock()
        except (FetchError, MetadataError, TimeoutError) as error:
            self._failure = str(error) or type(error).__name__

    async def _fetch(self) -> Keys:
        """An empty set is an answer too: the issuer believes in none of its keys any more."""
        uri = self._jwks_uri or (await discover(self._fetcher, self._issuer)).jwks_uri
        document = await self._fetcher.get_json(uri)
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
            raise MetadataError(f"what {self._issuer} names as its key set is none")
        return jwks.by_kid(document)
