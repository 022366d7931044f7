"""RFC 7662 by the network: an issuer is asked about a token, once for all who wait, and no more often than it bears.

Strangers can make up tokens, each another. What bounds them: of tokens that nothing speaks for yet (no signature, no
answer of before), only `STRANGERS_AT_ONCE` are asked about at a time and, while they turn out to be no good, a hundred
a second, in a lane of their own, so that known callers don't wait behind them; a token that was refused is refused
again without asking; and an issuer that didn't answer has a moment's rest from that lane: what a stranger made up may
be what it gives no answer to.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from garrison.base.clock import Clock
from garrison.base.errors import FetchError
from garrison.base.fetch import Fetcher
from garrison.guard.discovery import discover
from garrison.guard.issuers import Introspection
from garrison.guard.refusal import Unavailable
from garrison.oauth.errors import MetadataError
from garrison.oauth.introspection import introspection_request

ANSWER_WITHIN = 3.0
"""Seconds for a whole answer."""
PLACE_WITHIN = 1.0
"""Seconds for a place in the lane to come free."""
REFUSAL_TAKES = 0.02
"""Seconds that a stranger's token keeps its place after it was refused."""
STRANGERS_AT_ONCE = 2
KNOWN_AT_ONCE = 6
"""Together below the ten connections of a fetcher, so that keys can still be fetched."""
REFUSED_FOR = 10.0
"""Seconds that an answer of no is remembered; none becomes a yes again but where an issuer's replicas lag."""
REFUSED_TOKENS = 4096
KNOWN_TOKENS = 4096
"""How many tokens' last answers are kept, of each kind."""
BACK_OFF = 1.0
"""Seconds that an issuer that gave no answer is left alone."""
_OK = 200
_TOO_LONG = frozenset({413, 414})
"""What an issuer says to a token that is longer than any of its own."""
_REFUSED: Mapping[str, Any] = {"active": False}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the issuer said; `asked_at` is the clock when it was asked, before which nothing was true."""

    asked_at: float
    claims: Mapping[str, Any]


class _Lane:
    """Args: at_once: tokens that are asked about at a time."""

    def __init__(self, at_once: int) -> None:
        self.places = anyio.Semaphore(at_once)
        self.failed_at = -math.inf
        self.failure = ""


@dataclass(slots=True)
class _Flight:
    """A request under way. Without an outcome when done, whoever made it went away before the answer came."""

    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: Answer | str | None = None


class Introspector:
    """Asks one issuer, and remembers what it said: a no for `REFUSED_FOR`, a yes for as long as one who asks likes."""

    def __init__(self, issuer: str, settings: Introspection, fetcher: Fetcher, clock: Clock) -> None:
        self._issuer = issuer
        self._settings = settings
        self._fetcher = fetcher
        self._clock = clock
        self._endpoint = settings.endpoint
        self._known, self._strangers = _Lane(KNOWN_AT_ONCE), _Lane(STRANGERS_AT_ONCE)
        self._flights: dict[bytes, _Flight] = {}
        self._active: OrderedDict[bytes, Answer] = OrderedDict()
        self._refused: OrderedDict[bytes, float] = OrderedDict()

    async def ask(self, token: str, digest: bytes, *, signed: bool, max_age: float) -> Answer:
        """The issuer's answer about `token`, to be judged.

        Args:
            token: as it came.
            digest: a hash of it, which stands for it in memory.
            signed: whether its signature speaks for it already.
            max_age: seconds that may have passed since the issuer was asked.

        Raises:
            Unavailable: there was no answer.
        """
        while not self._was_refused(digest):
            known = self._active.get(digest)
            if known and 0 <= self._clock() - known.asked_at < max_age:
                return known
            if flight := self._flights.get(digest):
                await flight.done.wait()
            else:
                flight = await self._fly(token, digest, self._known if signed or known else self._strangers)
            if isinstance(flight.outcome, Answer):
                return flight.outcome
            if flight.outcome is not None:
                raise self._unavailable(flight.outcome)
        return Answer(self._clock(), _REFUSED)

    async def _fly(self, token: str, digest: bytes, lane: _Lane) -> _Flight:
        flight = self._flights[digest] = _Flight()
        try:
            flight.outcome = await self._outcome(token, lane)
            if isinstance(flight.outcome, Answer):
                self._remember(digest, flight.outcome)
        finally:
            del self._flights[digest]
            flight.done.set()
        return flight

    async def _outcome(self, token: str, lane: _Lane) -> Answer | str:
        """The answer, or why there is none."""
        if 0 <= self._clock() - lane.failed_at < BACK_OFF:
            return lane.failure
        try:
            with anyio.fail_after(PLACE_WITHIN):
                await lane.places.acquire()
        except TimeoutError:
            return "too many tokens to ask about"
        try:
            answer = await self._answer(token, lane)
            if lane is self._strangers and isinstance(answer, Answer) and not _is_active(answer):
                await anyio.sleep(REFUSAL_TAKES)
            return answer
        finally:
            lane.places.release()

    async def _answer(self, token: str, lane: _Lane) -> Answer | str:
        asked_at = self._clock()
        try:
            with anyio.fail_after(ANSWER_WITHIN):
                return Answer(asked_at, await self._request(token))
        except (FetchError, MetadataError, TimeoutError) as error:
            lane.failed_at, lane.failure = self._clock(), str(error) or "no answer in time"
            self._endpoint = self._settings.endpoint  # it may have moved
            return lane.failure

    async def _request(self, token: str) -> Mapping[str, Any]:
        endpoint = await self._find_endpoint()
        form, headers = introspection_request(token, self._settings.client_id, self._settings.client_secret)
        answer = await self._fetcher.post_form(endpoint, form, headers=headers)
        if answer.status in _TOO_LONG:
            return _REFUSED
        if answer.status != _OK:
            raise FetchError(f"the introspection endpoint answered {answer.status}")
        claims = answer.json()
        if not isinstance(claims, dict):
            raise FetchError("the introspection endpoint answered with no JSON object")
        return claims

    async def _find_endpoint(self) -> str:
        if not self._endpoint:
            found = (await discover(self._fetcher, self._issuer)).introspection_endpoint
            if not found:
                raise MetadataError(f"the metadata of {self._issuer} names no introspection endpoint")
            self._endpoint = found
        return self._endpoint

    def _was_refused(self, digest: bytes) -> bool:
        until = self._refused.get(digest, -math.inf)
        return until - REFUSED_FOR <= self._clock() < until

    def _remember(self, digest: bytes, answer: Answer) -> None:
        self._active.pop(digest, None)
        self._refused.pop(digest, None)
        if _is_active(answer):
            self._active[digest] = answer
        else:
            self._refused[digest] = self._clock() + REFUSED_FOR
        if len(self._active) > KNOWN_TOKENS:
            self._active.popitem(last=False)
        if len(self._refused) > REFUSED_TOKENS:
            self._refused.popitem(last=False)

    def _unavailable(self, failure: str) -> Unavailable:
        return Unavailable(
            "Access tokens can't be verified at the moment: the authorization server gave no answer.",
            reason=f"no introspection by {self._issuer}: {failure}",
            retry_after=math.ceil(BACK_OFF),
        )


def _is_active(answer: Answer) -> bool:
    return answer.claims.get("active") is True
