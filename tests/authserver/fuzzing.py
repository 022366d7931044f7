"""Requests that no honest client sends; judging.py says what every answer to them must be like.

All of it follows from a seed. Most begin as a good request and are bent: whole flows at every step, forms, headers,
cookies, key sets, assertions, metadata documents. They go straight to the ASGI application, past any HTTP library's
ideas of what may be sent.
"""

import json
import logging
import random
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

import anyio

from garrison.authserver import admin
from garrison.authserver.app import ROUTES
from garrison.oauth import client_assertion, jwks
from garrison.oauth.server_metadata import well_known_paths
from tests.authserver.judging import PAGES, Answer, Request, ask, judge
from tests.authserver.world import ISSUER, PASSWORD, RESOURCE, Forms, World
from tests.signing import foreign_jwt

PATHS = (*(row.path for row in ROUTES), *well_known_paths(ISSUER))
OWN_PAGES = [path for path in PAGES if path.startswith(("/account", "/passkey", "/factor", "/login", "/logout"))]
CREDENTIALS = ('{"id": "eA", "rawId": "eA", "type": "public-key", "response": {}}', "{}", "[1]", "x")
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW")
JUNK: tuple[str, ...] = (
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nX-Injected: yes",
    "%",
    "%zz",
    "é☃\u202e",
    "'\"><script>alert(1)</script>",
    "-1",
    "../x",
)
JUNK += ("{{7*7}}", "1e309", "null", "[]", "{}", "true", "a b", "x" * 300, "x" * 9000, "\u2028", "javascript:alert(1)")
JUNK += (
    "http://[",
    "https://[::1",
    "https://h:port/",
    "http://127.0.0.1:99999/",
    "https://é.example/",
    "https://a.b/../x",
)
RAW = (b"%ff", b"%", b"%u0041", b"\xff", b"%ed%a0%80", b"%00", b"&&==&", b";", b"a" * 20_000, b"=" * 60, b"&x" * 70)
VALUES: Sequence[Any] = (None, True, 0, -1, 2**70, 1e308, "", "x", "\ud800", "\0", [], {}, [[]], {"a": {}}, ["x", 1])
HEADERS: tuple[bytes, ...] = (
    b"host",
    b"origin",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"transfer-encoding",
    b"cookie",
)
HEADERS += (b"authorization", b"x-forwarded-for", b"forwarded", b"accept", b"accept-encoding", b"expect", b"x" * 300)
HEADER_VALUES: tuple[bytes, ...] = (
    b"",
    b" ",
    b"\xff\xfe",
    b"a" * 9000,
    b"-1",
    b"Bearer x",
    b"Basic",
    b"Basic !!!",
    b"for=[::",
)
HEADER_VALUES += (b"Basic " + b64encode(b"%ff:%zz"), b"Basic " + b64encode(b"\xff:\0"))
HEADER_VALUES += (
    b"__Host-garrison=" + b"x" * 43,
    b"__Host-garrison=\xff; =; ;;",
    b"multipart/form-data",
    b"text/plain",
)
HEADER_VALUES += (b"application/json", b"application/x-www-form-urlencoded; charset=utf-16")
FORM = (b"content-type", b"application/x-www-form-urlencoded")
TOO_LONG = 60
"""Seconds after which an answer counts as none, whatever else the machine does."""
Pairs = list[tuple[str, str]]


class Fuzzer:
    """`requests` of them, judged one by one; the first wrong answer raises `AssertionError`."""

    def __init__(self, world: World, seed: int, log: Sequence[logging.LogRecord]) -> None:
        self.world, self.random, self.log = world, random.Random(seed), log  # noqa: S311 - a seed is the point
        self.sent = 0
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.secrets: deque[str] = deque([PASSWORD, world.settings.secret.decode()], maxlen=60)
        self.clients: list[admin.NewClient] = []
        self.keys = [jwks.new_signing_key(alg) for alg in ("ES256", "EdDSA")]
        self.addresses = [f"198.51.{n}.{n}" for n in range(200)] + ["", "2001:db8::1", "unix:", "not an address"]

    async def run(self, requests: int) -> None:
        await self.world.user()
        self.clients = [
            await self.world.client(),
            await self.world.client(method="client_secret_post", introspects=[RESOURCE]),
            await self.world.client(public=True),
            await self.world.client(method="private_key_jwt", jwks=jwks.public_set(self.keys)),
        ]
        self.secrets.extend(client.client_secret for client in self.clients if client.client_secret)
        attacks: tuple[Callable[[], Any], ...] = (self.flow, self.stray, self.form)
        attacks += (self.assertion, self.register, self.document)
        while self.sent < requests:
            await self.random.choice(attacks)()
            self.world.time += self.random.choice((0, 0, 0, 1, 30, 4000))

    # What is sent.

    async def stray(self) -> None:
        """Any method, anywhere, with anything."""
        path = self.random.choice(PATHS) + self.random.choice(("", "", "", "/", "//", "/x", "%2e", "\0", ";a=b", "é"))
        await self.send(self.spoilt(Request(self.random.choice(METHODS), path, self.random.choice(RAW)), always=True))

    async def form(self) -> None:
        """A form for some endpoint, of parameters that it knows."""
        client = self.random.choice(self.clients)
        names: tuple[str, ...] = (
            "grant_type",
            "code",
            "redirect_uri",
            "code_verifier",
            "refresh_token",
            "scope",
            "resource",
            "token",
        )
        names += ("client_id", "client_secret", "client_assertion", "client_assertion_type", "request", "csrf", "state")
        names += (
            "username",
            "password",
            "proof",
            "permit",
            "challenge",
            "credential",
            "do",
            "target",
            "secret",
            "decision",
        )
        chosen = self.random.sample(names, self.random.randint(0, 8))
        grant = self.random.choice(("authorization_code", "refresh_token", "client_credentials", "password"))
        pairs = [
            ("grant_type", grant),
            *self.credentials(client),
            *((name, self.random.choice(JUNK)) for name in chosen),
        ]
        await self.post(self.random.choice(PATHS), self.bent(pairs), self.basic(client))

    async def flow(self) -> None:
        """Sign-in, consent, redemption, refresh and the rest, each step sent as it should be and before that bent."""
        client = self.random.choice(self.clients[:3])
        proof = self.basic(client)
        cookies: dict[str, str] = {}
        asked = self.world.authorization(client, prompt=self.random.choice((None, "consent", "x")))
        answer = await self.step("GET", "/authorize", list(asked.items()), cookies)
        for _ in range(3):  # by the consent page to the login page, or not if somebody has signed in already
            if answer.status == 303 and answer.header("location").startswith("/"):
                target = urlsplit(answer.header("location"))
                answer = await self.step("GET", target.path, [("request", target.query.partition("=")[2])], cookies)
        if answer.status != 200:
            return
        typed = {"username": "alice", "password": PASSWORD}
        typed = {**Forms(answer.text).fields("/login"), **typed}
        answer = await self.step("POST", "/login", list(typed.items()), cookies)
        if answer.status != 303:
            return
        target = urlsplit(answer.header("location"))
        answer = await self.step("GET", target.path, [("request", target.query.partition("=")[2])], cookies)
        if answer.status != 200:
            return
        decided = {**Forms(answer.text).fields("/consent"), "decision": "approve", "remember": "yes"}
        answer = await self.step("POST", "/consent", list(decided.items()), cookies)
        code = answer.header("location").partition("code=")[2].partition("&")[0]
        self.secrets.extend([code] if code else [])
        form = [*self.world.redemption(client, code).items(), *self.credentials(client)]
        answer = await self.step("POST", "/token", form, {}, proof)
        if answer.status == 200:
            await self.use(client, json.loads(answer.body), proof)
        await self.account(cookies)

    async def use(self, client: admin.NewClient, tokens: dict[str, Any], proof: list[tuple[bytes, bytes]]) -> None:
        self.secrets.extend((tokens["access_token"], tokens["refresh_token"]))
        named = self.credentials(client)
        form = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"]), *named]
        await self.step("POST", "/token", form, {}, proof)
        for path in ("/introspect", "/revoke"):
            token = self.random.choice((tokens["access_token"], tokens["refresh_token"]))
            await self.step("POST", path, [("token", token), *named], {}, proof)

    async def account(self, cookies: dict[str, str]) -> None:
        """Wherever the forms of a signed-in user's pages lead, filled in more or less well."""
        answer = await self.step("GET", self.random.choice(OWN_PAGES), [], cookies)
        for _ in range(4):
            if answer.status == 303 and answer.header("location").startswith("/"):
                target = urlsplit(answer.header("location"))
                answer = await self.step("GET", target.path, parse_qsl(target.query), cookies)
            elif answer.status == 200 and (forms := Forms(answer.text).forms):
                action, fields = self.random.choice(forms)
                typed = {"proof": PASSWORD, "code": "123456", "credential": self.random.choice(CREDENTIALS)}
                filled = {**fields, **{name: text for name, text in typed.items() if name in fields}}
                answer = await self.step("POST", action, list(filled.items()), cookies)

    async def assertion(self) -> None:
        """A JWT in which something is as it must not be; now and then nothing is."""
        client, key = self.clients[3], self.random.choice(self.keys)
        now = self.world.time
        claims = {"iss": client.client_id, "sub": client.client_id, "aud": ISSUER, "iat": now, "exp": now + 60}
        signed = self.broken_jwt(key, {**claims, "jti": self.random.randbytes(9).hex()})
        form = [("grant_type", "client_credentials"), ("client_assertion", signed)]
        form.append(("client_assertion_type", client_assertion.TYPE))
        await self.post(self.random.choice(("/token", "/revoke", "/introspect")), self.bent(form), [])

    def broken_jwt(self, key: jwks.SigningKey, claims: dict[str, Any]) -> str:
        if self.random.random() < 0.5:
            claims[self.random.choice([*claims, "nbf", "x"])] = self.random.choice(VALUES)
        signed = foreign_jwt(key, claims, typ="JWT")
        header, payload, signature = signed.split(".")
        match self.random.randrange(6):
            case 0:
                name = self.random.choice(("alg", "kid", "typ", "crit"))
                bent = {"alg": key.alg, "kid": key.kid, name: self.random.choice(VALUES)}
                header = _base64url(json.dumps(bent).encode())
            case 1:
                payload = _base64url(
                    self.random.choice((b"", b"[" * 3000, b"\xff", b"null", b'"x"', b"{}", b'{"sub": 1}'))
                )
            case 2:
                signature = self.random.choice(("", "x", "é", "=" * 9, signature[:-4]))
        return self.random.choice(
            (f"{header}.{payload}.{signature}",) * 8 + (header, "..", f"{signed}.x", "x" * 15_000)
        )

    async def register(self) -> None:
        """Metadata with odd members; and if it is registered nevertheless, a request of the client that it made."""
        body = json.dumps(self.metadata()).encode()
        if self.random.random() < 0.1:
            body = self.random.choice((b"[" * 9000, b"", b"\xff", b"NaN", b"1" * 9000, body[:-9]))
        request = Request("POST", "/register", b"", [(b"content-type", b"application/json")], [body])
        answer = await self.send(self.spoilt(request))
        if answer.status == 201:
            await self.as_client(json.loads(answer.body)["client_id"])

    async def document(self) -> None:
        """A client_id that is an address, with a document there, or something else."""
        urls = (
            "https://app.example/c.json",
            f"https://{self.sent}.example/c",
            "https://app.example/é",
            "https://[::1/",
        )
        url = self.random.choice(urls)
        self.world.web.publish(url, {**self.metadata(), "client_id": url}, status=self.random.choice((200, 200, 404)))
        asked = {
            **self.world.authorization(self.clients[0]),
            "client_id": url,
            "redirect_uri": "https://app.example/cb",
        }
        await self.send(Request("GET", "/authorize", self.encoded(list(asked.items())), address=self.address()))
        await self.as_client(url)

    def metadata(self) -> dict[str, Any]:
        key = {**self.random.choice(self.keys).public(), "kid": self.random.choice(("k", "é", ""))}
        if self.random.random() < 0.7:
            key[self.random.choice([*key, "use", "n", "e"])] = self.random.choice(VALUES)
        uri = self.random.choice(("https://app.example/keys", "https://nowhere.example/", "https://[::1"))
        self.world.web.publish("https://app.example/keys", self.random.choice((*VALUES, {"keys": [key, *VALUES]})))
        metadata: dict[str, Any] = {"redirect_uris": ["https://app.example/cb"]}
        metadata |= {"token_endpoint_auth_method": "private_key_jwt"}
        metadata |= {"jwks_uri": uri} if self.random.random() < 0.3 else {"jwks": {"keys": [key]}}
        if self.random.random() < 0.5:
            names = (*metadata, "client_name", "scope", "grant_types", "response_types", "software_statement")
            junk = self.random.choice(JUNK)
            metadata[self.random.choice(names)] = self.random.choice((*VALUES, junk, [junk]))
        return metadata

    async def as_client(self, client_id: str) -> None:
        """An assertion of this client, which its registered key might even verify."""
        now = self.world.time
        claims = {"iss": client_id, "sub": client_id, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": "j"}
        key = self.random.choice(self.keys)
        signed = foreign_jwt(jwks.SigningKey("k", key.private, key.alg), claims, typ="JWT")
        form = [("grant_type", "authorization_code"), ("code", "x"), ("client_assertion", signed)]
        await self.post("/token", [*form, ("client_assertion_type", client_assertion.TYPE)], [])

    # How it is bent.

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


def _base64url(data: bytes) -> str:
    return b64encode(data, altchars=b"-_").rstrip(b"=").decode()
