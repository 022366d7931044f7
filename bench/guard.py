"""What the guard costs: CPU per tools/call, bare, guarded, and with FastMCP's own three checks, in one run.

`protect` spares FastMCP the list of all its tools that it makes before each call (garrison/servers.py), so the guarded
server is held against both: FastMCP as it is, and FastMCP that knows its schemas. Beside them what no guard can be
cheaper than: the latter told who calls (bench/told.py), and with the least guard there can be (bench/floor.py).

The calls go straight into each ASGI application, so the numbers hold the server's work and no client's; the process's
CPU time is counted, all threads of it. Rounds are short and take turns, so that a machine that changes its speed
changes all of them. Only the ratios and differences mean anything beyond this machine.

`bench/stages.py` says where the guard's microseconds go.
"""

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from bench.floor import floor
from bench.told import told_who_calls
from fastmcp import FastMCP
from fastmcp.server.auth import require_scopes
from fastmcp.server.auth.providers.jwt import JWTVerifier
from fastmcp.server.middleware import AuthMiddleware
from fastmcp.server.middleware.rate_limiting import RateLimitingMiddleware
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from garrison import LimitSettings, Policy, needs, protect
from garrison.oauth import access_token, jwks
from garrison.serving import Endpoint, bind, running

RESOURCE = "http://localhost:8000/mcp"
CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
ROUNDS = 50
PLENTY = 1_000_000_000
MODERN = "2026-07-28"
BARE, KNOWING = "bare", "bare, knows its schemas"
SCHEMAS = {"add": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}


def adder(**options: Any) -> FastMCP:
    server: FastMCP = FastMCP("adder", **options)

    @server.tool
    def add(a: int, b: int) -> int:
        return a + b

    return server


def knowing(server: FastMCP) -> FastMCP:
    """`server`, which doesn't list its tools before each call, as `protect` does it: no header repeats an argument."""
    server._mcp_server.get_tool_input_schema = lambda _tool: None  # noqa: SLF001
    return server


def served(server: FastMCP) -> ASGIApp:
    return server.http_app(path="/mcp", stateless_http=True, json_response=True)


@contextlib.asynccontextmanager
async def issuer(key: jwks.SigningKey) -> AsyncIterator[str]:
    """The public half of an authorization server."""
    sockets = bind("issuer", "127.0.0.1", 0)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    async def metadata(_request: Any) -> JSONResponse:
        return JSONResponse({"issuer": url, "jwks_uri": f"{url}/jwks", "token_endpoint": f"{url}/token"})

    async def keys(_request: Any) -> JSONResponse:
        return JSONResponse(jwks.public_set([key]))

    app = Starlette(
        routes=[Route("/.well-known/oauth-authorization-server", metadata), Route("/jwks", keys)],
    )
    async with running(Endpoint("issuer", app, sockets)):
        yield url


@contextlib.asynccontextmanager
async def alive(app: ASGIApp) -> AsyncIterator[None]:
    """`app` between its lifespan's start and its end."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    started = await outbox.get()
    if started["type"] != "lifespan.startup.complete":
        raise SystemExit(f"did not start: {started}")
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await task


def token_for(key: jwks.SigningKey, issuer_url: str, resource: str = RESOURCE) -> str:
    """A caller's, as the issuer makes it."""
    return access_token.issue(
        key,
        issuer=issuer_url,
        subject="bench",
        client_id="bench",
        audience=resource,
        scope=["math:use"],
        now=time.time(),
        lifetime=3600,
        jti="1",
    )


def request(token: str) -> tuple[Mapping[str, Any], bytes]:
    """A tools/call of the 2026-07-28 revision, as scope and body."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    }
    params = {"name": "add", "arguments": {"a": 2, "b": 3}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    body = json.dumps(message, separators=(",", ":")).encode()  # as the SDKs send it
    headers = {
        "host": "localhost:8000",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "content-length": str(len(body)),
        "authorization": f"Bearer {token}",
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/call",
        "mcp-name": "add",
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }
    return scope, body


async def call(app: ASGIApp, scope: Mapping[str, Any], body: bytes) -> None:
    sent = False
    status = 0

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    await app({**scope, "state": {}}, receive, send)
    if status != 200:  # noqa: PLR2004 - HTTP's OK
        raise SystemExit(f"answered {status}")


async def cost(app: ASGIApp, scope: Mapping[str, Any], body: bytes) -> float:
    """Microseconds of CPU per call."""
    begun = time.process_time()
    for _ in range(CALLS):
        await call(app, scope, body)
    return (time.process_time() - begun) / CALLS * 1e6


async def main() -> None:
    key = jwks.new_signing_key("RS256")
    async with issuer(key) as url:
        token = token_for(key, url)
        with tempfile.TemporaryDirectory() as home:
            await compare(variants(url, key, Path(home)), *request(token))


def variants(url: str, key: jwks.SigningKey, home: Path) -> dict[str, ASGIApp]:
    limits = LimitSettings(requests_per_minute=PLENTY, tokens_per_hour=PLENTY)
    policy = Policy(tools={"add": needs("math:use")})
    guarded = protect(served(adder()), policy, resource=RESOURCE, issuer=url, home=home, limits=limits, schemas=SCHEMAS)
    if not isinstance(key.private, RSAKey):
        raise SystemExit("FastMCP's verifier is given an RSA key")
    own = adder(
        auth=JWTVerifier(public_key=key.private.as_pem(private=False).decode(), issuer=url, audience=RESOURCE),
        middleware=[
            AuthMiddleware(auth=require_scopes("math:use")),
            RateLimitingMiddleware(max_requests_per_second=PLENTY, burst_capacity=PLENTY),
        ],
    )
    return {
        BARE: served(adder()),
        KNOWING: served(knowing(adder())),
        "the same, told who calls": told_who_calls(served(knowing(adder()))),
        "the least guard": floor(served(knowing(adder())), SCHEMAS["add"], home / "floor", PLENTY),
        "guard": guarded,
        "FastMCP's own checks": served(own),
    }


async def compare(apps: Mapping[str, ASGIApp], scope: Mapping[str, Any], body: bytes) -> None:
    measured: dict[str, list[float]] = {name: [] for name in apps}
    async with contextlib.AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(alive(app))
            for _ in range(100):  # caches, pools and specialised bytecode
                await call(app, scope, body)
        for _ in range(ROUNDS):
            for name, app in apps.items():
                measured[name].append(await cost(app, scope, body))
    print(f"medians of {ROUNDS} rounds of {CALLS} calls; added and ratio beside {BARE}, and beside {KNOWING}")
    print(f"{'':26}{'µs a call':>10}{'added':>10}{'ratio':>8}{'added':>10}{'ratio':>8}")
    for name, costs in measured.items():
        columns = ""
        for base in (measured[BARE], measured[KNOWING]):
            pairs = list(zip(costs, base, strict=True))
            columns += f"{statistics.median(cost - other for cost, other in pairs):10.0f}"
            columns += f"{statistics.median(cost / other for cost, other in pairs):8.2f}"
        print(f"{name:26}{statistics.median(costs):10.0f}{columns}")


if __name__ == "__main__":
    asyncio.run(main())
