"""A small real authorization server and a small real protected MCP server, with knobs to misbehave by."""

import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from garrison.base.clock import Clock
from garrison.oauth import access_token, basic, challenge, jwks, pkce, redirect_uri, resource_metadata
from garrison.oauth.errors import InvalidToken

KEY = jwks.new_signing_key("ES256")
CLIENT_ID, CLIENT_SECRET = "demo", "s3cret/+ and spaces"
TOOL_SCOPES = {
    "get_customer_info": "customer:read",
    "create_support_ticket": "ticket:create",
    "calculate_account_value": "account:calculate",
}
ALL = frozenset(TOOL_SCOPES.values())


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: ASGIApp, **tls: Any) -> AsyncIterator[str]:
    """Serves `app` on a free port of loopback; gives its address. The socket listens before anybody can ask."""
    config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off", timeout_graceful_shutdown=1, **tls)
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            yield f"http://localhost:{listener.getsockname()[1]}"
            server.should_exit = True


@dataclass
class AuthServer:
    """Issues tokens to one client, and to anybody who asks at /authorize."""

    issuer: str = ""
    lifetime: int = 900
    grants: frozenset[str] = ALL
    metadata: dict[str, Any] = field(default_factory=dict)
    token_answer: Callable[[Mapping[str, str]], dict[str, Any]] | None = None
    clock: Clock = time.time
    metadata_path: str = "/.well-known/oauth-authorization-server"
    token_path: str = "/token"
    held: anyio.Event | None = None
    raw_answer: str = ""
    refusal: dict[str, str] = field(default_factory=dict)
    token_redirect: str = ""
    make_token: Callable[[dict[str, Any]], str] | None = None
    redirect_params: Callable[[dict[str, str]], dict[str, str]] = field(default=lambda params: params)
    forms: list[dict[str, str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    authorize_queries: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refresh_tokens: dict[str, dict[str, str]] = field(default_factory=dict)
    jwks_requests: int = 0
    registering: bool = False
    registration: dict[str, Any] = field(default_factory=dict)
    registrations: list[dict[str, Any]] = field(default_factory=list)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    default_audience: str = ""
    busy: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    revoked: list[dict[str, str]] = field(default_factory=list)
    revocation_status: int = 200
    refuses_resource: bool = False

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/{kind}", self._metadata),
                Route("/jwks", self._jwks),
                Route("/authorize", self._authorize),
                Route(self.token_path, self._token, methods=["POST"]),
                Route("/moved", self._token, methods=["POST"]),
                Route("/register", self._register, methods=["POST"]),
                Route("/revoke", self._revoke, methods=["POST"]),
            ]
        )

    async def _metadata(self, request: Request) -> Response:
        if request.url.path != self.metadata_path:
            return Response(status_code=404)
        document = {
            "issuer": self.issuer,
            "token_endpoint": f"{self.issuer}{self.token_path}",
            "jwks_uri": f"{self.issuer}/jwks",
            "authorization_endpoint": f"{self.issuer}/authorize",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        }
        if self.registering:
            document["registration_endpoint"] = f"{self.issuer}/register"
        return JSONResponse({**document, **self.metadata})

    async def _register(self, request: Request) -> Response:
        """RFC 7591, and strict: what is registered is compared byte for byte later on."""
        asked = await request.json()
        self.registrations.append(asked)
        if self.refusal:
            return JSONResponse(self.refusal, 400)
        client = {**asked, "client_id": f"registered-{len(self.registrations)}", **self.registration}
        self.known[client["client_id"]] = client
        return JSONResponse(client, 201)

    async def _revoke(self, request: Request) -> Response:
        self.revoked.append({name: str(value) for name, value in (await request.form()).items()})
        return Response(status_code=self.revocation_status)

    def _is_known(self, client_id: str, redirect_uri: str | None = None) -> bool:
        if not self.registering:
            return True
        client = self.known.get(client_id)
        return client is not None and redirect_uri in (None, *client["redirect_uris"])

    async def _jwks(self, request: Request) -> Response:
        self.jwks_requests += 1
        return JSONResponse(jwks.public_set([KEY]))

    async def _authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        self.authorize_queries.append(query)
        if not self._is_known(query["client_id"], query["redirect_uri"]):
            return Response("who are you?", 400)
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        params = self.redirect_params({"code": code, "state": query["state"], "iss": self.issuer})
        return RedirectResponse(redirect_uri.with_params(query["redirect_uri"], params), 303)

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.forms.append(form)
        self.authorizations.append(request.headers.get("authorization"))
        if request.url.path != self.token_path:
            return Response(status_code=404)
        if self.held:
            await self.held.wait()
        if self.busy:
            status, headers = self.busy.pop(0)
            return Response(status_code=status, headers=headers)
        if "client_id" in form and not self._is_known(form["client_id"]):
            return JSONResponse({"error": "invalid_client"}, 401)
        if self.refuses_resource and "resource" in form:
            return JSONResponse({"error": "invalid_target", "error_description": "AADSTS9010010"}, 400)
        if self.token_answer:
            return JSONResponse(self.token_answer(form))
        if self.refusal:
            return JSONResponse(self.refusal, 400)
        if self.raw_answer:
            return Response(self.raw_answer)
        if self.token_redirect:
            return RedirectResponse(self.token_redirect, 307)
        scope, subject, client_id = form.get("scope", " ".join(sorted(self.grants))), "demo_user", form.get("client_id")
        if form["grant_type"] == "client_credentials":
            client_id, secret = self._credentials(form, request.headers.get("authorization"))
            subject = f"client:{client_id}"
            if (client_id, secret) != (CLIENT_ID, CLIENT_SECRET):
                return JSONResponse({"error": "invalid_client"}, 401)
        elif form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form["code"], None)
            if asked is None or asked["redirect_uri"] != form["redirect_uri"]:
                return JSONResponse({"error": "invalid_grant"}, 400)
            pkce.verify(form["code_verifier"], asked["code_challenge"])
            scope = asked.get("scope", scope)
        else:
            asked = self.refresh_tokens.pop(form["refresh_token"], None)
            if asked is None:
                return JSONResponse({"error": "invalid_grant"}, 400)
            scope = asked["scope"]
        if not frozenset(scope.split()) <= self.grants:
            return JSONResponse({"error": "invalid_scope", "error_description": "more than you may have"}, 400)
        audience = form.get("resource", self.default_audience)
        answer = {"access_token": self.token(audience, scope, subject, str(client_id)), "token_type": "Bearer"}
        if form["grant_type"] != "client_credentials":
            answer["refresh_token"] = secrets.token_urlsafe(8)
            self.refresh_tokens[answer["refresh_token"]] = {"scope": scope}
        return JSONResponse({**answer, "expires_in": self.lifetime, "scope": scope})

    @staticmethod
    def _credentials(form: Mapping[str, str], header: str | None) -> tuple[str, str]:
        return basic.parse_basic(header) if header else (form.get("client_id", ""), form.get("client_secret", ""))

    def token(self, resource: str, scope: str, subject: str, client_id: str, **changes: Any) -> str:
        about: dict[str, Any] = {
            "issuer": self.issuer,
            "subject": subject,
            "client_id": client_id,
            "audience": resource,
            "scope": scope.split(),
            "now": self.clock(),
            "lifetime": self.lifetime,
            "jti": secrets.token_hex(4),
            **changes,
        }
        return self.make_token(about) if self.make_token else access_token.issue(KEY, **about)


@dataclass
class Seen:
    """One request that reached the MCP server."""

    method: str
    authorization: str | None
    tool: str = ""


@dataclass
class McpGate:
    """The demo's three tools behind a Bearer check. `forced` gives a status and headers instead of an answer."""

    url: str = ""
    issuers: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    metadata_url: str = ""
    challenge_scope: str | None = None
    forced: Callable[[Seen], tuple[int, dict[str, str]] | None] = field(default=lambda seen: None)
    broken: Callable[[Seen], bool] = field(default=lambda seen: False)
    open: bool = False
    clock: Clock = time.time
    seen: list[Seen] = field(default_factory=list)
    slow: anyio.Event = field(default_factory=anyio.Event)
    """Set when a call is under way that waits for `released`."""
    released: anyio.Event = field(default_factory=anyio.Event)
    inner: Starlette = field(init=False)

    def __post_init__(self) -> None:
        self.inner = tools_server(self).streamable_http_app(stateless_http=True, json_response=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "oauth-protected-resource" in scope["path"]:
            await self._metadata(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        answer = self._judge(request, json.loads(body) if body else {})
        if self.broken(self.seen[-1]):
            headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            return  # and the server closes the connection
        if answer:
            await answer(scope, receive, send)
            return
        messages = iter([{"type": "http.request", "body": body}])

        async def replay() -> Any:
            return next(messages, None) or await receive()

        await self.inner(scope, replay, send)

    async def _metadata(self, scope: Scope, receive: Receive, send: Send) -> None:
        document = {**resource_metadata.document(self.url, self.issuers, ALL), **self.metadata}
        await JSONResponse(document)(scope, receive, send)

    def _judge(self, request: Request, message: Any) -> Response | None:
        tool = message.get("params", {}).get("name", "") if message.get("method") == "tools/call" else ""
        seen = Seen(message.get("method", request.method), request.headers.get("authorization"), tool)
        self.seen.append(seen)
        if forced := self.forced(seen):
            return Response(b" " * int(forced[1].get("x-size", 0)), forced[0], forced[1])
        token = (seen.authorization or "").removeprefix("Bearer ")
        if self.open or token == "opaque-but-good":
            return None
        try:
            granted = self._verify(token)
        except InvalidToken:
            return Response(status_code=401, headers={"WWW-Authenticate": self._challenge(scope=self.challenge_scope)})
        needed = TOOL_SCOPES.get(tool)
        if needed and needed not in granted:
            refused = self._challenge(error="insufficient_scope", scope=needed)
            return Response(status_code=403, headers={"WWW-Authenticate": refused})
        return None

    def _verify(self, token: str) -> frozenset[str]:
        keys = jwks.by_kid(jwks.public_set([KEY]))
        resource = self.metadata.get("resource", self.url)
        return access_token.verify(token, keys, issuer=self.issuers[0], audience=resource, now=self.clock()).scopes

    def _challenge(self, **params: str | None) -> str:
        origin = self.url.removesuffix("/mcp")
        named = self.metadata_url or f"{origin}/.well-known/oauth-protected-resource/mcp"
        return challenge.render("Bearer", resource_metadata=None if named == "-" else named, **params)


def tools_server(gate: McpGate) -> MCPServer:
    server = MCPServer("customers", log_level="ERROR")

    @server.tool()
    async def get_customer_info(customer_id: str) -> dict[str, Any]:
        """Retrieve a customer's information by customer ID."""
        if customer_id == "SLOW01":
            gate.slow.set()
            await gate.released.wait()
        contact = {"email": f"{customer_id.lower()}@example.com", "phone": "+1-555-0100"}
        return {
            "customer_id": customer_id,
            "name": f"Customer {customer_id}",
            "status": "active",
            "account_type": "premium",
            "contact_info": contact,
        }

    @server.tool()
    async def create_support_ticket(customer_id: str, subject: str, description: str, priority: str) -> dict[str, Any]:
        """Create a support ticket for a customer."""
        if priority not in {"low", "normal", "high", "urgent"}:
            raise ToolError("priority must be low, normal, high or urgent")
        return {
            "ticket_id": "TICKET-1",
            "customer_id": customer_id,
            "subject": subject,
            "description": description,
            "priority": priority,
            "estimated_resolution": "48 hours",
        }

    @server.tool()
    async def calculate_account_value(customer_id: str, amounts: list[float]) -> dict[str, Any]:
        """Calculate a customer's account value from purchase amounts."""
        total = sum(amounts)
        numbers = {"total": total, "average": total / len(amounts), "count": len(amounts)}
        extremes = {"max_purchase": max(amounts), "min_purchase": min(amounts)}
        return {"customer_id": customer_id, "calculation": {**numbers, **extremes}, "account_tier": "bronze"}

    @server.resource("health://status")
    def health() -> str:
        return json.dumps({"status": "healthy"})

    return server


@dataclass
class Stage:
    """A server's place for the application of the test that runs."""

    url: str = ""
    app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.app and scope["type"] == "http":
            await self.app(scope, receive, send)


@dataclass
class World:
    """An authorization server, an MCP server that trusts it, and a model server: the scripted model at first."""

    issuer: AuthServer
    gate: McpGate
    model_stage: Stage

    @property
    def model(self) -> str:
        """The model's base URL."""
        return f"{self.model_stage.url}/v1"

    @property
    def url(self) -> str:
        return self.gate.url

    @property
    def client(self) -> dict[str, Any]:
        """The arguments of `connect` for the machine client."""
        return {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "issuer": self.issuer.issuer}
