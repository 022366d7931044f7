"""A whole authorization server for a test: the real application over a real SQLite file, driven over ASGI."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.applications import Starlette

from garrison.authserver import admin
from garrison.authserver.app import create_app
from garrison.authserver.settings import AuthServerSettings, PasswordCost
from garrison.authserver.stores import tables
from garrison.authserver.stores.store import Store
from garrison.base.errors import EventStoreError, FetchError
from garrison.base.events import Event, Kind
from garrison.base.fetch import MAX_BYTES, Fetched, Fetcher
from garrison.oauth import access_token, jwks, pkce

ISSUER = "https://auth.example"
RESOURCE = "https://mcp.example/mcp"
CALLBACK = "https://app.example/callback?kept=1"
SCOPES = frozenset({"customer:read", "ticket:create", "security:read"})
CHEAP = PasswordCost(time=1, memory_kib=64, parallelism=1)
PASSWORD = "correct horse battery"
START = 1_800_000_000.0

ON_EVERY_ENGINE = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=[pytest.mark.needs("postgresql"), pytest.mark.no_cover])],
    indirect=True,
)
"""For what two engines could do differently: atomicity, concurrency, migrations, faults, every verb of the store, and
one whole flow of every grant. All other tests run on SQLite alone."""

Make = Callable[..., Awaitable["World"]]
"""Makes a server with other settings."""


SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests of what no database has a say in: they run once."""


class Recorder:
    """An event sink that keeps events in memory, and can be told to fail as a full disk would."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.broken = False

    async def write(self, event: Event) -> None:
        if self.broken:
            raise EventStoreError("the event store is full")
        self.events.append(event)

    def write_soon(self, event: Event) -> None:
        raise NotImplementedError("the authorization server waits for each of its events")

    def of(self, kind: Kind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]


class Web(Fetcher):
    """The network beyond: documents by their URL, and what was asked for; everything else fails."""

    def __init__(self) -> None:
        self.pages: dict[str, Fetched] = {}
        self.asked: list[str] = []

    def publish(self, url: str, document: Any, *, status: int = 200, **headers: str) -> None:
        fields = {"content-type": "application/json", **{n.replace("_", "-"): v for n, v in headers.items()}}
        self.pages[url] = Fetched(status, fields, json.dumps(document).encode())

    async def get(self, url: str, *, max_bytes: int = MAX_BYTES, asker: str = "") -> Fetched:
        self.asked.append(url)
        if url not in self.pages:
            raise FetchError(f"{url} did not answer")
        if len(self.pages[url].body) > max_bytes:
            raise FetchError(f"{url} answered more than {max_bytes} bytes")
        return self.pages[url]

    async def aclose(self) -> None:
        """Nothing was opened."""


class Forms(HTMLParser):
    """The forms of a page: action, and the names of its fields with their values."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((values["action"], {}))
        elif tag == "input" and values["type"] != "checkbox":
            self.forms[-1][1][values["name"]] = values.get("value", "")

    def fields(self, action: str) -> dict[str, str]:
        return next(fields for where, fields in self.forms if where.endswith(action))


def query_of(response: httpx2.Response) -> dict[str, str]:
    """The query of the Location header, each parameter once."""
    query = parse_qs(urlsplit(response.headers["location"]).query, strict_parsing=True, keep_blank_values=True)
    assert all(len(values) == 1 for values in query.values()), "a parameter came twice"
    return {name: values[0] for name, values in query.items()}


@dataclass
class World:
    """One authorization server, its clock, its events, and somebody who uses it."""

    settings: AuthServerSettings
    store: Store
    app: Starlette
    stack: AsyncExitStack
    time: float = START
    events: Recorder = field(default_factory=Recorder)
    verifier: str = "v" * 43
    web: Web = field(default_factory=Web)

    def now(self) -> float:
        return self.time

    async def another_app(self, **changes: Any) -> Starlette:
        """A second replica on the same database; `fetcher` may be another one than our own network, `provider_fetcher`
        than a patient one that reaches loopback.
        """
        fetcher = changes.pop("fetcher", self.web)
        settings = self.changed(**{name: value for name, value in changes.items() if name != "provider_fetcher"})
        patient = Fetcher(timeout=60, private_addresses=True) if settings.identity_provider else None
        app = create_app(
            settings,
            events=self.events,
            clock=self.now,
            fetcher=fetcher,
            provider_fetcher=changes.get("provider_fetcher", patient),
        )
        await self.stack.enter_async_context(app.router.lifespan_context(app))
        return app

    def changed(self, **changes: Any) -> AuthServerSettings:
        return AuthServerSettings(**{**vars(self.settings), **changes})

    def browser(self, app: Starlette | None = None, address: str = "203.0.113.7") -> httpx2.AsyncClient:
        """Something with a cookie jar, at `address`."""
        transport = httpx2.ASGITransport(app=app or self.app, client=(address, 50000))
        parts = urlsplit(self.settings.issuer)
        return httpx2.AsyncClient(transport=transport, base_url=f"{parts.scheme}://{parts.netloc}")

    async def client(self, **changes: Any) -> admin.NewClient:
        values = {
            "name": "Support desk",
            "grants": ["authorization_code", "refresh_token", "client_credentials"],
            "scope": "customer:read ticket:create",
            "redirect_uris": [CALLBACK],
            **changes,
        }
        if values.get("public"):
            values["grants"] = [grant for grant in values["grants"] if grant != "client_credentials"]
        return await admin.add_client(self.store, values.pop("name"), **values, clock=self.now)

    async def user(self, username: str = "alice", scope: str = "customer:read ticket:create security:read") -> str:
        await admin.add_user(self.store, username, scope=scope, password=PASSWORD, cost=CHEAP, clock=self.now)
        return username

    async def remember(self, **row: str) -> None:
        """A consent for good, whatever the pages say to it."""
        async with self.store.write() as connection:
            mine = [tables.consents.c[name] == row[name] for name in ("username", "client_id", "resource")]
            await connection.execute(tables.consents.delete().where(*mine))
            await connection.execute(tables.consents.insert().values(**row, created_at=self.time))

    def authorization(self, client: admin.NewClient, **changes: str | None) -> dict[str, str]:
        """The parameters of a good authorization request, changed; None leaves one out."""
        parameters = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": client.client.redirect_uris[0],
            "state": "st&te=é",
            "scope": "customer:read",
            "resource": RESOURCE,
            "code_challenge": pkce.challenge_s256(self.verifier),
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    async def sign_in(
        self, browser: httpx2.AsyncClient, location: str, username: str = "alice", password: str = PASSWORD
    ) -> httpx2.Response:
        """From the login page at `location` to what its form answers."""
        page = await browser.get(location)
        assert page.status_code == 200, page.text
        fields = Forms(page.text).fields("/login")
        return await browser.post("/login", data={**fields, "username": username, "password": password})

    async def consent_page(
        self, browser: httpx2.AsyncClient, client: admin.NewClient, **changes: str | None
    ) -> httpx2.Response:
        """From the authorization request to the consent page, signing in on the way if need be; or back to the client,
        if nothing is asked.
        """
        response = await browser.get("/authorize", params=self.authorization(client, **changes))
        assert response.status_code == 303, response.text
        if not response.headers["location"].startswith("/"):
            return response
        response = await browser.get(response.headers["location"])
        if response.status_code == 303 and response.headers["location"].startswith("/login"):
            response = await self.sign_in(browser, response.headers["location"])
            assert response.status_code == 303, response.text
            response = await browser.get(response.headers["location"])
        return response

    async def decide(self, browser: httpx2.AsyncClient, page: httpx2.Response, **fields: str) -> httpx2.Response:
        assert page.status_code == 200, page.text
        return await browser.post(
            "/consent", data={**Forms(page.text).fields("/consent"), "decision": "approve", **fields}
        )

    async def code(self, client: admin.NewClient, **changes: str | None) -> str:
        """A code that alice has granted."""
        async with self.browser() as browser:
            response = await self.decide(browser, await self.consent_page(browser, client, **changes))
        return query_of(response)["code"]

    def redemption(self, client: admin.NewClient, code: str, **changes: str | None) -> dict[str, str]:
        """The form that redeems `code`, without client authentication."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.client.redirect_uris[0],
            "code_verifier": self.verifier,
            **changes,
        }
        return {name: value for name, value in form.items() if value is not None}

    async def token(
        self, client: admin.NewClient, form: dict[str, str], app: Starlette | None = None
    ) -> httpx2.Response:
        """POST /token as `client`, by the method it is registered for."""
        secret = client.client_secret
        if client.client.method == "client_secret_basic" and secret:
            auth = httpx2.BasicAuth(client.client_id, secret)
            async with self.browser(app) as http:
                return await http.post("/token", data=form, auth=auth)
        credentials = {"client_id": client.client_id, **({"client_secret": secret} if secret else {})}
        async with self.browser(app) as http:
            return await http.post("/token", data={**form, **credentials})

    async def tokens(self, client: admin.NewClient, **changes: str | None) -> dict[str, Any]:
        """The token response of the whole code flow."""
        response = await self.token(client, self.redemption(client, await self.code(client, **changes)))
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def refresh(self, client: admin.NewClient, token: str, **form: str) -> httpx2.Response:
        return await self.token(client, {"grant_type": "refresh_token", "refresh_token": token, **form})

    def read(self, token: str, audience: str = RESOURCE) -> access_token.AccessToken:
        """The access token, judged as its resource judges it."""
        keys = jwks.by_kid(jwks.public_set(self.settings.signing_keys))
        return access_token.verify(token, keys, issuer=self.settings.issuer, audience=audience, now=self.time)
