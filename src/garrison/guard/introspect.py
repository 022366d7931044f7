"""RFC 7662 by the network: an issuer is asked about a token, once for all who wait, and no more often than it bears.

Strangers can make up tokens, each another. What bounds them: of tokens that nothing speaks for yet (no signature, no
answer of before), only `STRANGERS_AT_ONCE` are asked about at a time and, while they turn out to be no good, a hundred
a second, in a lane of their own, so that known callers don't wait behind them; and a token that was refused is refused
again without asking. What keeps them from each other, as a newcomer with a good token is a stranger too: neighbours, by
their addresses, take turns and have no more than `NEIGHBOURS_AT_ONCE` places; and when a stranger's token got no
answer, its neighbours alone are put off for a moment: what was made up may be what the issuer gives no answer to. When
a known caller's got none, everybody is.
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
from garrison.base.peers import neighbourhood
from garrison.guard.discovery import discover
from garrison.guard.issuers import Introspection
from garrison.guard.refusal import Unavailable
from garrison.guard.turns import Turns
from garrison.oauth.errors import MetadataError
from garrison.oauth.introspection import introspection_request

ANSWER_WITHIN = 3.0
"""Seconds for a whole answer."""
PLACE_WITHIN = 1.0
"""Seconds for a place in the lane to come free."""
REFUSAL_TAKES = 0.03
"""Seconds that a stranger's token keeps its place after it was refused, or got no answer."""
STRANGERS_AT_ONCE = 3
NEIGHBOURS_AT_ONCE = 2
"""Those of them whose askers live in one neighbourhood."""
KNOWN_AT_ONCE = 6
"""Together below the ten connections of a fetcher, so that keys can still be fetched."""
REFUSED_FOR = 10.0
"""Seconds that an answer of no is remembered; none becomes a yes again but where an issuer's replicas lag."""
REFUSED_TOKENS = 4096
KNOWN_TOKENS = 4096
"""How many tokens' last answers are kept, of each kind."""
BACK_OFF = 1.0
"""Seconds that an issuer that gave no answer is left alone, by whom it gave none."""
_EVERYBODY = ""
"""Whose turn it is where none are taken."""
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
    """Places for tokens that are asked about, and for a moment what failed, of whom: at most as many as had places."""

    def __init__(self, places: Turns) -> None:
        self.places = places
        self._failed: dict[str, tuple[float, str]] = {}

    def failure(self, asker: str, now: float) -> str | None:
        """Why nobody asks for `asker` now."""
        at, why = self._failed.get(asker, (-math.inf, ""))
        return why if 0 <= now - at < BACK_OFF else None

    def fail(self, asker: str, now: float, why: str) -> None:
        self._failed = {who: failed for who, failed in self._failed.items() if self.failure(who, now) is not None}
        self._failed[asker] = now, why


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
        self._known = _Lane(Turns(KNOWN_AT_ONCE, KNOWN_AT_ONCE))
        self._strangers = _Lane(Turns(STRANGERS_AT_ONCE, NEIGHBOURS_AT_ONCE))
        self._flights: dict[bytes, _Flight] = {}
        self._active: OrderedDict[bytes, Answer] = OrderedDict()
        self._refused: OrderedDict[bytes, float] = OrderedDict()

    async def ask(self, token: str, digest: bytes, *, signed: bool, address: str, max_age: float) -> Answer:
        """The issuer's answer about `token`, to be judged.

        Args:
            token: as it came.
            digest: a hash of it, which stands for it in memory.
            signed: whether its signature speaks for it already.
            address: where it came from.
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
            elif signed or known:
                flight = await self._fly(token, digest, self._known, _EVERYBODY)
            else:
                flight = await self._fly(token, digest, self._strangers, neighbourhood(address))
            if isinstance(flight.outcome, Answer):
                return flight.outcome
            if flight.outcome is not None:
                raise self._unavailable(flight.outcome)
        return Answer(self._clock(), _REFUSED)

    async def _fly(self, token: str, digest: bytes, lane: _Lane, asker: str) -> _Flight:
        flight = self._flights[digest] = _Flight()
        try:
            flight.outcome = await self._outcome(token, lane, asker)
            if isinstance(flight.outcome, Answer):
                self._remember(digest, flight.outcome)
        finally:
            del self._flights[digest]
            flight.done.set()
        return flight

    async def _outcome(self, token: str, lane: _Lane, asker: str) -> Answer | str:
        """The answer, or why there is none."""
        if failure := self._put_off(lane, asker):
            return failure
        try:
            with anyio.fail_after(PLACE_WITHIN):
                await lane.places.acquire(asker)
        except TimeoutError:
            return "too many tokens to ask about"
        try:
            if failure := self._put_off(lane, asker):  # it came while others waited
                return failure
            answer = await self._answer(token, lane, asker)
            if lane is self._strangers and not _is_active(answer):
                await anyio.sleep(REFUSAL_TAKES)
            return answer
        finally:
            lane.places.release(asker)

    def _put_off(self, lane: _Lane, asker: str) -> str | None:
        now = self._clock()
        return lane.failure(asker, now) or self._known.failure(_EVERYBODY, now)

    async def _answer(self, token: str, lane: _Lane, asker: str) -> Answer | str:
        asked_at = self._clock()
        try:
            with anyio.fail_after(ANSWER_WITHIN):
                return Answer(asked_at, await self._request(token))
        except (FetchError, MetadataError, TimeoutError) as error:
            failure = str(error) or "no answer in time"
            lane.fail(asker, self._clock(), failure)
            self._endpoint = self._settings.endpoint  # it may have moved
            return failure

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


def _is_active(answer: Answer | str) -> bool:
    return isinstance(answer, Answer) and answer.claims.get("active") is True
