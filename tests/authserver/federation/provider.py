"""An OpenID provider over real HTTP on loopback that does what a test wants, and a person who signs in there."""

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from garrison.authserver import admin, seal
from garrison.authserver.federation.settings import Allow, IdentityProvider
from garrison.oauth import jwks, pkce, signed_jwt
from garrison.serving import Endpoint, bind, running
from tests.authserver.world import Forms, Make, World

CLIENT_ID, CLIENT_SECRET = "garrison at the provider", "s3cret+/%"
CLAIMS = {
    "email": "alice@example.com",
    "email_verified": True,
    "preferred_username": "Alice",
    "groups": ["support", "chess"],
}
SUPPORT = Allow(scope=frozenset({"customer:read", "ticket:create"}), claims={"groups": ["support"]})
EVERYONE = Allow(scope=frozenset({"customer:read"}), everyone=True)
KEY = jwks.new_signing_key("ES256")


@dataclass
class Provider:
    """The provider, honest until told otherwise.

    Attributes:
        claims: what it says about a person, by subject.
        id_claims: changes the claims of an ID token, None drops one.
        sign: makes the ID token of its claims.
        metadata: changes of its metadata, None drops one.
        userinfo: changes of userinfo's claims; `in_userinfo` names the claims that are there alone.
        broken: paths that answer 500.
    """

    issuer: str
    now: Callable[[], float] = lambda: 0.0
    claims: dict[str, dict[str, Any]] = field(default_factory=lambda: {"alice-sub": dict(CLAIMS)})
    id_claims: dict[str, Any] = field(default_factory=dict)
    sign: Callable[[dict[str, Any]], str] = lambda claims: signed_jwt.sign(KEY, claims, typ="JWT")
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    in_userinfo: frozenset[str] = frozenset()
    userinfo_status: int = 200
    token_type: str = "Bearer"
    broken: frozenset[str] = frozenset()
    checks_pkce: bool = True
    codes: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)

    def authorize(self, query: dict[str, str], subject: str = "alice-sub") -> dict[str, str]:
        """A person signs in as `subject`: what the browser comes back with."""
        code = seal.new_secret()
        self.codes[code] = subject, query
        return {"code": code, "state": query["state"], "iss": self.issuer}

    def app(self) -> Starlette:
        routes = [
            Route("/.well-known/openid-configuration", self._metadata),
            Route("/jwks", self._jwks),
            Route("/token", self._token, methods=["POST"]),
            Route("/me", self._me),
        ]
        return Starlette(routes=[Route(r.path, self._heard(r.endpoint), methods=["GET", "POST"]) for r in routes])

    def _heard(self, endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            self.asked.append(request.url.path)
            if request.url.path in self.broken:
                return Response(status_code=500)
            response: Response = await endpoint(request)
            return response

        return answer

    async def _metadata(self, _request: Request) -> Response:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/me",
            "end_session_endpoint": f"{self.issuer}/end",
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }
        return JSONResponse({name: value for name, value in document.items() if value is not None})

    async def _jwks(self, _request: Request) -> Response:
        return JSONResponse(jwks.public_set([KEY]))

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        method, pair = _credentials(request, form)
        self.methods.append(method)
        subject, query = self.codes.pop(form["code"], ("", {}))
        proved = query.get("code_challenge") == pkce.challenge_s256(form["code_verifier"]) or not self.checks_pkce
        same = query.get("redirect_uri") == form["redirect_uri"] and query.get("client_id") == CLIENT_ID
        if pair != (CLIENT_ID, CLIENT_SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        if not subject or not proved or not same:
            return JSONResponse({"error": "invalid_grant", "error_description": "the secret is s3cret"}, 400)
        return JSONResponse(
            {
                "token_type": self.token_type,
                "access_token": f"at.{subject}",
                "id_token": self._id_token(subject, query["nonce"]),
            }
        )

    def _id_token(self, subject: str, nonce: str) -> str:
        now = int(self.now())
        said = {name: value for name, value in self.claims[subject].items() if name not in self.in_userinfo}
        claims = {
            "iss": self.issuer,
            "sub": subject,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **said,
            **self.id_claims,
        }
        return self.sign({name: value for name, value in claims.items() if value is not None})

    async def _me(self, request: Request) -> Response:
        subject = request.headers["authorization"].removeprefix("Bearer at.")
        return JSONResponse({"sub": subject, **self.claims[subject], **self.userinfo}, self.userinfo_status)


def _credentials(request: Request, form: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """How the client proves itself, and its id and secret; both ways at once are none."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme == "Basic" and "client_secret" not in form:
        return "client_secret_basic", tuple(map(unquote_plus, b64decode(credentials).decode().split(":")))
    return "client_secret_post", (form.get("client_id", ""), form.get("client_secret", ""))


@dataclass
class Federation:
    """A server whose users sign in at `provider`."""

    world: World
    provider: Provider


@asynccontextmanager
async def federation(make_world: Make, **changes: Any) -> AsyncIterator[Federation]:
    """`changes` are of the settings of the identity provider."""
    (listener,) = bind("identity provider", "127.0.0.1", 0)
    provider = Provider(f"http://127.0.0.1:{listener.getsockname()[1]}")
    async with running(Endpoint("identity provider", provider.app(), [listener])):
        yield Federation(await make_world(identity_provider=settings(provider.issuer, **changes)), provider)


def settings(issuer: str, **changes: Any) -> IdentityProvider:
    values = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "allow": [SUPPORT], **changes}
    return IdentityProvider(issuer=issuer, **values)


async def question(
    world: World, browser: httpx2.AsyncClient, client: admin.NewClient, **changes: Any
) -> httpx2.Response:
    """From the authorization request to the page that asks before the browser leaves."""
    response = await browser.get("/authorize", params=world.authorization(client, **changes))
    for _ in range(3):
        assert response.status_code == 303, response.text
        response = await browser.get(response.headers["location"])
    assert response.status_code == 200, response.text
    return response


async def answered(
    browser: httpx2.AsyncClient, page: httpx2.Response, decision: str = "approve", **fields: str
) -> httpx2.Response:
    form = {**Forms(page.text).fields("/login/provider"), "decision": decision, **fields}
    return await browser.post("/login/provider", data=form)


def address(page: httpx2.Response) -> str:
    """Where the page that leads to the provider leads to, by itself as by its link."""
    assert page.status_code == 200, page.text
    links = Links(page.text)
    assert links.refresh == links.links[0]
    return links.refresh


def query_of_address(page: httpx2.Response) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address(page)).query, strict_parsing=True))


async def departed(
    world: World, browser: httpx2.AsyncClient, client: admin.NewClient, **changes: Any
) -> dict[str, str]:
    """From the authorization request to what the provider is asked."""
    return query_of_address(await answered(browser, await question(world, browser, client, **changes)))


async def returned(browser: httpx2.AsyncClient, answer: dict[str, str]) -> httpx2.Response:
    return await browser.get("/login/callback", params=answer)


async def signed_in(
    town: Federation,
    browser: httpx2.AsyncClient,
    client: admin.NewClient,
    subject: str = "alice-sub",
    **changes: Any,
) -> httpx2.Response:
    """The whole way; gives what the return from the provider is answered with."""
    asked = await departed(town.world, browser, client, **changes)
    return await returned(browser, town.provider.authorize(asked, subject))


class Links(HTMLParser):
    """The links of a page, and where it leads by itself."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.refresh = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(values["href"])
        elif values.get("http-equiv") == "refresh":
            self.refresh = values["content"].removeprefix("0;url=")


def dumped(claims: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
