"""How the fuzzer's requests are bent, sent and judged."""

import logging
import random
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Sequence
from urllib.parse import quote_plus, urlencode

import anyio

from garrison.authserver import admin
from garrison.authserver.app import ROUTES
from garrison.authserver.federation import departure
from garrison.oauth.server_metadata import well_known_paths
from tests.authserver.fuzz_words import HEADER_VALUES, HEADERS, JUNK, RAW
from tests.authserver.judging import Answer, Request, ask, judge
from tests.authserver.world import ISSUER, PASSWORD, World

PATHS = (*(row.path for row in ROUTES), *well_known_paths(ISSUER), departure.PATH, departure.RETURN_PATH)
FORM = (b"content-type", b"application/x-www-form-urlencoded")
TOO_LONG = 60
"""Seconds after which an answer counts as none, whatever else the machine does."""
Pairs = list[tuple[str, str]]


class Bending:
    """`log` are the server's records of errors, of which there must be none; whatever is random follows from `seed`."""

    def __init__(self, world: World, seed: int, log: Sequence[logging.LogRecord]) -> None:
        self.world, self.random, self.log = world, random.Random(seed), log  # noqa: S311 - a seed is the point
        self.sent = 0
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.secrets: deque[str] = deque([PASSWORD, world.settings.secret.decode()], maxlen=60)
        self.addresses = [f"198.51.{n}.{n}" for n in range(200)] + ["", "2001:db8::1", "unix:", "not an address"]

    async def step(
        self, method: str, path: str, pairs: Pairs, cookies: dict[str, str], headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> Answer:
        """The request as it should be; before that, two times of three, a bent one in its place."""
        jar = "; ".join(f"{name}={value}" for name, value in cookies.items())
        cookie = [(b"cookie", jar.encode())] if jar else []
        if self.random.random() < 0.66:
            await self.send(self.spoilt(self.request(method, path, self.bent(pairs), [*headers, *cookie])))
        answer = await self.send(self.request(method, path, pairs, [*headers, *cookie]))
        for name, value in answer.headers:
            if name == "set-cookie":
                key, _, rest = value.partition("=")
                cookies[key] = rest.partition(";")[0]
        return answer

    async def post(self, path: str, pairs: Pairs, headers: Sequence[tuple[bytes, bytes]]) -> Answer:
        return await self.send(self.spoilt(self.request("POST", path, pairs, headers)))

    def request(self, method: str, path: str, pairs: Pairs, headers: Sequence[tuple[bytes, bytes]]) -> Request:
        encoded = self.encoded(pairs)
        if method == "POST":
            return Request(method, path, b"", [FORM, *headers], [encoded], address=self.address())
        return Request(method, path, encoded, list(headers), address=self.address())

    def bent(self, pairs: Pairs) -> Pairs:
        pairs = list(pairs)
        for _ in range(self.random.choice((0, 1, 1, 2))):
            if not pairs:
                break
            at = self.random.randrange(len(pairs))
            name, value = pairs[at]
            change = self.random.randrange(7)
            if change == 0:
                del pairs[at]
            elif change == 1:
                pairs.append((name, self.random.choice((value, *JUNK))))
            elif change == 2:
                pairs[at] = (name + self.random.choice(("", "x", "[]", "\0")), value)
            elif change == 3:
                pairs[at] = (name, value[: len(value) // 2])
            elif change == 4:
                pairs[at] = (name, value + self.random.choice(JUNK[:12]))
            else:
                pairs[at] = (name, self.random.choice(JUNK))
        return pairs

    def encoded(self, pairs: Pairs) -> bytes:
        return urlencode(pairs).encode()

    def spoilt(self, request: Request, *, always: bool = False) -> Request:
        """The same with broken bytes, headers or an end too early; in most cases untouched."""
        if always or self.random.random() < 0.15:
            for _ in range(self.random.randint(1, 3)):
                request.headers.append((self.random.choice(HEADERS), self.random.choice(HEADER_VALUES)))
        if self.random.random() < 0.1:
            request.chunks.append(self.random.choice(RAW))
        if self.random.random() < 0.05:
            request.query = self.random.choice(RAW)
        request.cut_off = self.random.random() < 0.02
        return request

    def credentials(self, client: admin.NewClient) -> Pairs:
        """What the client shows in the form."""
        if client.client.method == "client_secret_post":
            return [("client_id", client.client_id), ("client_secret", client.client_secret or "")]
        return [("client_id", client.client_id)] if client.client.method == "none" else []

    def basic(self, client: admin.NewClient) -> list[tuple[bytes, bytes]]:
        if client.client.method != "client_secret_basic":
            return []
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret or '')}"
        return [(b"authorization", b"Basic " + b64encode(pair.encode()))]

    def address(self) -> str:
        return self.random.choice(self.addresses)

    async def send(self, request: Request) -> Answer:
        self.sent += 1
        with anyio.fail_after(TOO_LONG):
            answer = await ask(self.world.app, request)
        self.statuses[request.path if request.path in PATHS else "elsewhere", answer.status] += 1
        try:
            judge(request, answer, self.secrets)
            assert not self.log, f"logged as an error: {[record.getMessage() for record in self.log]}"
        except AssertionError as error:
            raise AssertionError(f"{error}\nrequest {self.sent}: {request}\nanswer: {answer}") from error
        return answer
