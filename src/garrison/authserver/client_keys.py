"""The public keys of clients that are registered with a jwks_uri (RFC 7591 §2): fetched when wanted, kept for a while.

Strangers decide *when* a fetch may happen, by sending an assertion with a kid that nobody knows. So one fetch at a time
serves all who wait, and none starts within `BACK_OFF` of the one before, whatever kids are made up.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import anyio

from garrison.base.clock import Clock
from garrison.base.errors import FetchError
from garrison.base.fetch import Fetcher
from garrison.oauth.errors import InvalidClient

MAX_AGE = 300.0
"""Seconds after which keys are fetched again, so that one taken out of the set stops being believed."""
BACK_OFF = 10.0
"""Seconds between two fetches of one set at the least, failed ones too."""
MAX_SETS = 256
"""Key sets kept at most; the one longest unused goes first."""
MAX_OF_ONE = 32
"""Those of them that one asker may have fetched within `BACK_OFF`: it takes many askers to keep another's out."""


@dataclass
class _Set:
    document: Any = None
    asker: str = ""
    fetched_at: float = -math.inf
    attempted_at: float = -math.inf
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class ClientKeys:
    """Key sets by their address."""

    def __init__(self, fetcher: Fetcher, clock: Clock) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._sets: OrderedDict[str, _Set] = OrderedDict()

    async def aclose(self) -> None:
        await self._fetcher.aclose()

    async def get(self, uri: str, kid: str, *, asker: str = "") -> Any:
        """The JWK Set at `uri`, fetched anew if `kid` isn't in it (and it's time). Without `asker` nobody is counted.

        Raises:
            InvalidClient: it can't be had.
        """
        kept = self._kept(uri, asker)
        async with kept.lock:
            if self._due(kept, kid) and self._has_share(asker):
                await self._refresh(kept, uri, asker)
        if not self._within(kept.fetched_at, MAX_AGE):
            raise InvalidClient("the keys of this client can't be fetched from its jwks_uri now; try again soon")
        return kept.document

    def _kept(self, uri: str, asker: str) -> _Set:
        if uri not in self._sets:
            self._make_room(asker)
        kept = self._sets.setdefault(uri, _Set())
        self._sets.move_to_end(uri)
        return kept

    def _make_room(self, asker: str) -> None:
        """One whose last fetch was just now makes none: it would be fetched again as if it never had been."""
        too_many = InvalidClient("the keys of too many clients are being fetched; try again soon")
        if not self._has_share(asker):
            raise too_many
        if len(self._sets) >= MAX_SETS:
            idle = (
                uri for uri, kept in self._sets.items() if not kept.lock.locked() and not self._was_just_asked(kept)
            )
            oldest = next(idle, None)
            if oldest is None:
                raise too_many
            del self._sets[oldest]

    def _has_share(self, asker: str) -> bool:
        taken = (kept for kept in self._sets.values() if kept.asker == asker and self._was_just_asked(kept))
        return not asker or sum(1 for _ in taken) < MAX_OF_ONE

    def _was_just_asked(self, kept: _Set) -> bool:
        return self._within(kept.attempted_at, BACK_OFF)

    def _due(self, kept: _Set, kid: str) -> bool:
        if self._was_just_asked(kept):
            return False
        return not self._within(kept.fetched_at, MAX_AGE) or kid not in _kids(kept.document)

    def _within(self, since: float, seconds: float) -> bool:
        """A clock that was set back must not make anything look new for longer."""
        return 0 <= self._clock() - since < seconds

    async def _refresh(self, kept: _Set, uri: str, asker: str) -> None:
        kept.attempted_at, kept.asker = self._clock(), asker
        try:
            # Shielded: the caller for whom it began may go away, and those who wait with it must not wait for nothing.
            with anyio.CancelScope(shield=True):
                document = await self._fetcher.get_json(uri, asker=asker)
        except FetchError:
            return
        kept.document, kept.fetched_at = document, self._clock()


def _kids(document: Any) -> set[str]:
    keys = document.get("keys") if isinstance(document, dict) else None
    kids = {key.get("kid", "") for key in keys if isinstance(key, dict)} if isinstance(keys, list) else set()
    return {kid for kid in kids if isinstance(kid, str)}
