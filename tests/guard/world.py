"""A small real world around a guard: an authorization server's public half, an app that notes what reaches it."""

import json
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx2
import uvicorn
from joserfc import jws
from mcp.shared.inbound import NAME_BEARING_METHODS
from mcp_types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garrison.base.errors import EventStoreError
from garrison.base.events import Event, Kind
from garrison.base.fetch import Fetcher
from garrison.content.schema import ToolSchemas
from garrison.guard.guard import Guard
from garrison.guard.policy import Policy, Rule
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from garrison.oauth import access_token, jwks
from garrison.oauth.jwks import SigningKey

os.environ |= {
    "FASTMCP_LOG_ENABLED": "false",
    "FASTMCP_SHOW_SERVER_BANNER": "false",
    "FASTMCP_CHECK_FOR_UPDATES": "off",
    "FASTMCP_TELEMETRY_MODE": "off",
}

RESOURCE = "http://localhost:8000/mcp"
SECRET = bytes(range(32))
SCOPE = "customer:read ticket:create security:read"
KEY = jwks.new_signing_key("ES256")
MODERN = "2026-07-28"
INTROSPECT = "/introspect"
SCHEMA = {
    "type": "object",
    "properties": {"customer_id": {"type": "string", "pattern": "^[A-Z0-9]{5,10}$"}, "note": {"type": "string"}},
    "required": ["customer_id"],
    "additionalProperties": False,
}
POLICY = Policy(
    tools={
        "get_customer_info": Rule(frozenset({"customer:read"})),
        "create_support_ticket": Rule(frozenset({"customer:read", "ticket:create"})),
        "whoami": Rule(),
    },
    resources={"health://status": Rule(), "security://events": Rule(frozenset({"security:read"}))},
    prompts={"greet": Rule(frozenset({"customer:read"}))},
)
SCHEMAS: dict[str, dict[str, Any]] = {
    "get_customer_info": SCHEMA,
    "create_support_ticket": SCHEMA,
    "whoami": {"type": "object", "properties": {}, "additionalProperties": False},
    "forbidden": {"type": "object"},
}


async def others_have_run() -> None:
    """Returns when every task that waits for no clock, thread or socket has come as far as it can."""
    for _ in range(100):
        await anyio.lowlevel.checkpoint()


class _AnyHeader(jws.JWSRegistry):
    """Signs whatever header a test wants."""

    max_header_length = 1 << 20

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


class HeldClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


class Recorder:
    """An event sink that keeps everything, or, told to fail, nothing."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failing: frozenset[Kind] = frozenset()
        self._written = anyio.Event()

    async def write(self, event: Event) -> None:
        if event.kind in self.failing:
            raise EventStoreError("the disk is full")
        await anyio.lowlevel.checkpoint()
        self.events.append(event)
        self._written.set()

    def write_soon(self, event: Event) -> None:
        if event.kind in self.failing:
            raise EventStoreError("the disk is full")
        self.events.append(event)
        self._written.set()

    async def next_of(self, kind: Kind) -> Event:
        """The first event of `kind`, as soon as there is one."""
        with anyio.fail_after(60):
            while kind not in self.kinds():
                self._written = anyio.Event()
                await self._written.wait()
        return self.events[self.kinds().index(kind)]

    def kinds(self) -> list[Kind]:
        return [event.kind for event in self.events]

    def fail(self) -> None:
        self.failing = frozenset(Kind)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which only the main thread may set; it says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def free_listener() -> socket.socket:
    """Bound before anything is served, so that an address can be named in what serves it."""
    return socket.create_server(("127.0.0.1", 0))


class IssuerHost:
    """Serves any number of issuers, each at a path of its own, over real HTTP from a thread of its own."""

    def __init__(self) -> None:
        self.issuers: dict[str, Issuer] = {}
        self._listener = free_listener()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = _Server(uvicorn.Config(self, log_config=None, lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))
        self._thread.start()

    def new_issuer(self) -> "Issuer":
        name = str(len(self.issuers))
        self.issuers[name] = Issuer(f"{self.url}/{name}")
        return self.issuers[name]

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = next(part for part in scope["path"].split("/") if part.isdigit())
        path = scope["path"].replace(f"/{name}", "")
        if path == INTROSPECT:
            await self.issuers[name].introspect(dict(scope["headers"]), await _whole_body(receive), send)
        else:
            await self.issuers[name].answer(path, send)


@dataclass
class Issuer:
    """The public half of an authorization server, with knobs to misbehave by; and it mints tokens."""

    url: str
    keys: list[SigningKey] = field(default_factory=lambda: [KEY])
    fetched: list[str] = field(default_factory=list)
    down: bool = False
    held: threading.Event | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    key_set: Any = None
    place: str = "/.well-known/oauth-authorization-server"
    alive: dict[str, Any] = field(default_factory=dict)
    introspected: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    introspection_status: int = 200

    async def asked(self, times: int = 1) -> None:
        """Returns when that many requests have come, of whatever kind."""
        with anyio.fail_after(60):
            while len(self.fetched) < times:
                await anyio.sleep(0.002)

    async def answer(self, path: str, send: Send) -> None:
        self.fetched.append(path)
        if self.held:
            await anyio.to_thread.run_sync(self.held.wait)
        documents = {self.place: self._metadata(), "/jwks": self._keys()}
        found = path in documents and not self.down
        body = json.dumps(documents[path]).encode() if found else b"{}"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if found else 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def introspect(self, headers: Mapping[bytes, bytes], body: bytes, send: Send) -> None:
        """RFC 7662: what `alive` says of the token, or that it isn't."""
        form = dict(parse_qsl(body.decode()))
        self.fetched.append(INTROSPECT)
        self.introspected.append((headers[b"authorization"].decode(), form))
        if self.held:
            await anyio.to_thread.run_sync(self.held.wait)
        status = 503 if self.down else self.introspection_status
        answer = json.dumps(self.alive.get(form["token"], {"active": False})).encode()
        headers_out = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers_out})
        await send({"type": "http.response.body", "body": answer})

    def describe(self, token: str, **changes: Any) -> None:
        """Makes `token` alive, as an opaque one that is meant for the resource."""
        now = int(time.time())
        good = {
            "active": True,
            "iss": self.url,
            "sub": "alice",
            "client_id": "desk",
            "aud": RESOURCE,
            "scope": SCOPE,
            "exp": now + 900,
            "token_type": "Bearer",
        }
        self.alive[token] = {name: value for name, value in {**good, **changes}.items() if value is not None}

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any], key: SigningKey = KEY) -> str:
        """A token with this very header and claims, but for alg and kid, which are the key's unless given."""
        whole = {"alg": key.alg, "kid": key.kid, **header}
        registry = _AnyHeader(algorithms=[key.alg], strict_check_header=False)
        return jws.serialize_compact(whole, json.dumps(claims), key.private, registry=registry)

    def _metadata(self) -> dict[str, Any]:
        endpoints = {"jwks_uri": f"{self.url}/jwks", "introspection_endpoint": f"{self.url}{INTROSPECT}"}
        return {"issuer": self.url, **endpoints, **self.metadata}

    def _keys(self) -> Any:
        return jwks.public_set(self.keys) if self.key_set is None else self.key_set

    @property
    def key_fetches(self) -> int:
        return self.fetched.count("/jwks")

    def mint(
        self,
        scope: str = SCOPE,
        *,
        key: SigningKey = KEY,
        issuer: str | None = None,
        subject: str = "alice",
        client_id: str = "desk",
        audience: str = RESOURCE,
        now: float | None = None,
        lifetime: int = 900,
        jti: str = "1",
    ) -> str:
        return access_token.issue(
            key,
            issuer=self.url if issuer is None else issuer,
            subject=subject,
            client_id=client_id,
            audience=audience,
            scope=scope.split(),
            now=time.time() if now is None else now,
            lifetime=lifetime,
            jti=jti,
        )


class NotingApp:
    """A real ASGI app that notes what reaches it and answers a JSON-RPC result."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.session_id: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.bodies.append(await _whole_body(receive) if scope["method"] == "POST" else b"")
        headers = [(b"content-type", b"application/json"), (b"x-correlation-id", b"made up by the app")]
        if self.session_id:
            headers.append((b"mcp-session-id", self.session_id))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"jsonrpc":"2.0","id":1,"result":{}}'})

    def header(self, name: str) -> str | None:
        """A header of the last request that came through."""
        return next((v.decode() for n, v in self.scopes[-1]["headers"] if n == name.encode()), None)


def living(app: ASGIApp) -> ASGIApp:
    """`app` for a server that wants a lifespan."""

    async def alive(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for answer in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{answer}.complete"})
        else:
            await app(scope, receive, send)

    return alive


async def _whole_body(receive: Receive) -> bytes:
    body = b""
    while True:
        event = await receive()
        body += bytes(event.get("body", b""))
        if not event.get("more_body"):
            return body


@dataclass
class World:
    """Everything around one guard; `guard()` builds it with what the test wants different."""

    issuer_host: IssuerHost
    issuer: Issuer
    fetcher: Fetcher
    app: NotingApp = field(default_factory=NotingApp)
    events: Recorder = field(default_factory=Recorder)
    clock: HeldClock = field(default_factory=HeldClock)

    def guard(self, app: ASGIApp | None = None, policy: Policy = POLICY, **changes: Any) -> Guard:
        settings: dict[str, Any] = {
            "resource": RESOURCE,
            "issuer": self.issuer.url,
            "events": self.events,
            "limiter": Limiter(LimitSettings(requests_per_minute=1000)),
            "schemas": ToolSchemas(SCHEMAS),
            "secret": SECRET,
            "fetcher": self.fetcher,
            "clock": self.clock,
            **changes,
        }
        return Guard(app or self.app, policy, **settings)

    def mint(self, scope: str = SCOPE, **changes: Any) -> str:
        return self.issuer.mint(scope, **{"now": self.clock(), **changes})

    def client(
        self, guard: ASGIApp | None = None, token: str | None = "", address: str = "127.0.0.1"
    ) -> httpx2.AsyncClient:
        """An HTTP client of `guard` at `address`; bears a good token unless told otherwise (None: no token)."""
        headers = {} if token is None else {"authorization": f"Bearer {token or self.mint()}"}
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(guard or self.guard(), client=(address, 50000)),
            base_url="http://localhost:8000",
            headers=headers,
        )


def legacy(method: str, params: Mapping[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """Arguments of `client.post("/mcp", …)` for a request of the revisions with handshake."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **members}
    return {"json": body, "headers": {"accept": "application/json, text/event-stream"}}


def modern(method: str, params: Mapping[str, Any] | None = None, **headers: str) -> dict[str, Any]:
    """The same for 2026-07-28; `headers` replace those that go with the body."""
    meta = {PROTOCOL_VERSION_META_KEY: MODERN, CLIENT_CAPABILITIES_META_KEY: {}}
    params = {**(params or {}), "_meta": meta}
    sent = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": method,
        **({"mcp-name": str(params[key])} if (key := NAME_BEARING_METHODS.get(method)) in params else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return {"json": {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, "headers": sent}


def call(tool: str = "get_customer_info", arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A tools/call that a guard lets through, in the legacy era."""
    return legacy(
        "tools/call", {"name": tool, "arguments": {"customer_id": "ABC123"} if arguments is None else arguments}
    )


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serves `app` by uvicorn on `listener`."""
    server = _Server(uvicorn.Config(app, log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        await anyio.to_thread.run_sync(server.ready.wait)
        try:
            yield
        finally:
            server.should_exit = True


async def asgi(app: ASGIApp, scope: Mapping[str, Any], events: Sequence[Message]) -> list[Message]:
    """What `app` sends when called by hand; after `events` it is left waiting."""
    pending, sent = list(events), []

    async def receive() -> Message:
        if not pending:
            await anyio.sleep_forever()
        return pending.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app(dict(scope), receive, send)
    return sent
