"""Real Chromium walks every page over TLS: sign-in, consent, refusal, taking back, codes by an app, passkeys.

A picture of each page, at the widths of a phone, light and dark, and of a desktop, is left in artefacts/pages/ to be
looked at; and axe-core judges each of them as a screen reader's user would.
"""

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from garrison.authserver import admin
from garrison.authserver.app import create_app
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.clients import save_client
from garrison.authserver.stores.store import Store, open_store
from garrison.base.events import Kind
from garrison.oauth import jwks, pkce, totp
from garrison.serving import Endpoint, bind, free_port, running
from garrison.tls.authority import ensure
from garrison.tls.context import client_context, server_context
from tests import chromium
from tests.authserver.world import CHEAP, PASSWORD, RESOURCE, SCOPES, Recorder
from tests.chromium import Page

pytestmark = [
    pytest.mark.needs("chromium", "axe-core"),
    pytest.mark.xdist_group("chromium"),
    pytest.mark.timeout(300),
]
ROOT = Path(__file__).parents[2]
AXE = ROOT / "tests/foreign/node_modules/axe-core/axe.min.js"
PICTURES = ROOT / "artefacts" / "pages"
LOOKS = ((390, False), (390, True), (1280, False))
"""Widths, and whether it is dark."""
VERIFIER = "v" * 43
RULES = {
    False: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    True: {"type": "rule", "values": ["color-contrast"]},
}
"""axe-core's, in the light, and what may differ in the dark."""
JUDGED = """axe.run(document, {runOnly: %s}).then((all) =>
  all.violations.map((one) => one.id + ": " + one.nodes.map((node) => node.html).join(" ")))"""


@dataclass
class Town:
    """An authorization server behind TLS with a clock of ours, the application that people come from, and a browser."""

    issuer: str
    callback: str
    store: Store
    events: Recorder
    http: httpx2.AsyncClient
    browser: chromium.Chromium
    time: float

    def now(self) -> float:
        return self.time

    async def user(self, name: str) -> str:
        await admin.add_user(
            self.store, name, scope="customer:read ticket:create", password=PASSWORD, cost=CHEAP, clock=self.now
        )
        return name

    async def client(self) -> admin.NewClient:
        return await admin.add_client(
            self.store,
            "Support desk",
            grants=["authorization_code", "refresh_token"],
            scope="customer:read ticket:create",
            redirect_uris=[self.callback],
            clock=self.now,
        )

    def authorization(self, client: admin.NewClient) -> str:
        parameters = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": self.callback,
            "state": "kept",
            "resource": RESOURCE,
            "code_challenge": pkce.challenge_s256(VERIFIER),
            "code_challenge_method": "S256",
        }
        return f"{self.issuer}/authorize?{urlencode(parameters)}"

    async def sign_in(self, page: Page, username: str) -> None:
        """With a password, on the sign-in page that is shown."""
        await page.shows("Sign in")
        await page.fill("username", username)
        await page.fill("password", PASSWORD)
        await page.enter()

    async def answer(self, page: Page) -> dict[str, str]:
        """What the application is told, once the browser is back there."""
        await page.shows("Back at the application")
        query = parse_qs(urlsplit(str(await page.run("location.href"))).query)
        return {name: value for name, (value,) in query.items()}

    async def redeem(self, client: admin.NewClient, code: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.callback,
            "code_verifier": VERIFIER,
        }
        response = await self.http.post("/token", data=form, auth=(client.client_id, client.client_secret or ""))
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def refresh(self, client: admin.NewClient, body: dict[str, Any]) -> int:
        form = {"grant_type": "refresh_token", "refresh_token": body["refresh_token"]}
        response = await self.http.post("/token", data=form, auth=(client.client_id, client.client_secret or ""))
        return response.status_code


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    folder = tmp_path_factory.mktemp("browser")
    paths = ensure(folder)
    issuer = f"https://localhost:{free_port('localhost', 0)}"
    callback = f"http://127.0.0.1:{free_port('127.0.0.1', 0)}/callback"
    settings = AuthServerSettings(
        issuer=issuer,
        database_url=str(folder / "auth.db"),
        signing_keys=[jwks.new_signing_key("ES256")],
        secret=b"s" * 32,
        resources={RESOURCE: SCOPES},
        scope_descriptions={"customer:read": "Read what is known about customers", "ticket:create": "Open tickets"},
        password_cost=CHEAP,
    )
    async with AsyncExitStack() as stack:
        town = Town(
            issuer,
            callback,
            await stack.enter_async_context(open_store(settings.database_url)),
            Recorder(),
            await stack.enter_async_context(httpx2.AsyncClient(base_url=issuer, verify=client_context(paths.ca))),
            await stack.enter_async_context(chromium.running(public_key_hash(paths.server))),
            time.time(),
        )
        app = create_app(settings, events=town.events, clock=town.now)
        sockets = bind("authorization server", "localhost", urlsplit(issuer).port or 0)
        tls = server_context(paths.server, paths.server_key)
        await stack.enter_async_context(running(Endpoint("authorization server", app, sockets, tls)))
        application = Starlette(routes=[Route("/callback", application_page)])
        sockets = bind("application", "127.0.0.1", urlsplit(callback).port or 0)
        await stack.enter_async_context(running(Endpoint("application", application, sockets)))
        yield town


@pytest.fixture
async def page(town: Town) -> AsyncIterator[Page]:
    async with town.browser.page() as page:
        yield page


async def application_page(_request: Request) -> Response:
    return HTMLResponse("<!doctype html><title>Application</title><h1>Back at the application</h1>")


def public_key_hash(certificate: Path) -> str:
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


async def look(page: Page, name: str) -> None:
    """Pictures of the page that is shown; nothing is cut off on a phone, and nothing is in a reader's way."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.run(AXE.read_text() + "; true")
    for width, dark in LOOKS:
        await page.look(width=width, dark=dark)
        await page.screenshot(PICTURES / f"{name}-{width}-{'dark' if dark else 'light'}.png")
        assert await page.run("document.documentElement.scrollWidth") <= width, f"{name} is cut off at {width}"
        if width == LOOKS[0][0]:
            assert await page.run(JUDGED % json.dumps(RULES[dark])) == [], f"{name}, dark: {dark}"


async def secret_of(page: Page) -> bytes:
    """What the page shows for people to type into their app."""
    text = str(await page.run("document.querySelector('.secret code').textContent")).replace(" ", "")
    return base64.b32decode(text)


async def test_a_person_signs_in_refuses_allows_takes_it_back_and_signs_out(town: Town, page: Page) -> None:
    await town.user("alice")
    client = await town.client()
    await page.open(town.authorization(client))
    await page.shows("Sign in")
    await look(page, "login")
    await page.fill("username", "alice")
    await page.fill("password", "wrong password")
    await page.enter()
    await page.until("document.querySelector('[role=alert]')")
    await look(page, "login-wrong")
    await page.fill("password", PASSWORD)
    await page.enter()
    await page.shows("Allow Support desk access?")
    await look(page, "consent")
    await page.press("Refuse")
    assert (await town.answer(page))["error"] == "access_denied"

    await page.open(town.authorization(client))
    await page.shows("Allow Support desk access?")
    await page.press("Allow")
    answer = await town.answer(page)
    assert (answer["state"], answer["iss"]) == ("kept", town.issuer)
    body = await town.redeem(client, answer["code"])

    await page.open(f"{town.issuer}/account/grants")
    await page.shows("What you have allowed")
    await look(page, "grants")
    await page.press("Take access away")
    await page.until("document.querySelector('[role=status]')")
    await look(page, "grants-none")
    assert await town.refresh(client, body) == 400

    stranger = replace(client.client, client_id="client_stranger", source="registration")
    await save_client(town.store, stranger, None)
    await page.open(town.authorization(replace(client, client_id=stranger.client_id)) + "&scope=a&scope=b")
    await page.shows("Nothing was allowed")
    await look(page, "not-redirected")
    await page.run("document.querySelector('a[rel=noreferrer]').click()")
    assert (await town.answer(page))["error"] == "invalid_request"

    await page.open(f"{town.issuer}/logout")
    await page.shows("Sign out?")
    await look(page, "logout")
    await page.press("Sign out")
    await page.shows("You are signed out")
    await look(page, "signed-out")
    await page.open(f"{town.issuer}/authorize?client_id=nobody")
    await page.shows("This can\N{RIGHT SINGLE QUOTATION MARK}t continue")
    await look(page, "error")


async def test_a_person_sets_up_an_app_and_signs_in_with_its_codes(town: Town, page: Page) -> None:
    await town.user("bob")
    await page.open(f"{town.issuer}/account/sign-in")
    await town.sign_in(page, "bob")
    await page.shows("What you have allowed")
    await page.press("Sign-in")
    await page.shows("How you sign in")
    await look(page, "sign-in-methods-none")
    await page.press("Set up an app")
    await page.shows("Set up an authenticator app")
    await look(page, "confirm")
    await page.fill("proof", PASSWORD)
    await page.enter()
    await page.until("document.querySelector('figure svg')")
    await look(page, "app")
    secret = await secret_of(page)
    await page.fill("code", totp.code(secret, int(town.time // totp.STEP)))
    await page.enter()
    await page.shows("Your recovery codes")
    await look(page, "recovery-codes")
    await page.press("I have kept them")
    await page.shows("How you sign in")
    await look(page, "sign-in-methods-app")
    await page.press("Sign out")
    await page.shows("You are signed out")

    town.time += totp.STEP
    await page.open(town.authorization(await town.client()))
    await town.sign_in(page, "bob")
    await page.shows("Your code")
    await page.fill("code", "000000")
    await page.enter()
    await page.until("document.querySelector('[role=alert]')")
    await look(page, "factor-wrong")
    await page.fill("code", totp.code(secret, int(town.time // totp.STEP)))
    await page.enter()
    await page.shows("Allow Support desk access?")
    await page.press("Allow")
    assert (await town.answer(page))["code"]


async def test_a_person_adds_a_passkey_and_signs_in_with_it_alone(town: Town, page: Page) -> None:
    await town.user("carol")
    client = await town.client()
    await page.plug_in_authenticator()
    await page.open(f"{town.issuer}/account/grants")
    await town.sign_in(page, "carol")
    await page.shows("What you have allowed")
    await page.open(f"{town.issuer}/account/confirm?do=add-passkey")
    await page.fill("proof", PASSWORD)
    await page.enter()
    await page.until("document.getElementById('name')")
    await look(page, "add-passkey")
    await page.fill("name", "My phone")
    await page.press("Add")
    await page.shows("How you sign in")
    await look(page, "sign-in-methods-passkey")
    (held,) = await page.credentials()
    assert (held["rpId"], held["isResidentCredential"]) == ("localhost", True)
    await page.press("Sign out")
    await page.shows("You are signed out")

    await page.open(town.authorization(client))
    await page.shows("Sign in")
    await page.recognize(user=False)
    await page.press("Sign in with a passkey")
    await page.until("document.querySelector('[role=status]').textContent.startsWith('Nothing was chosen')")
    await look(page, "passkey")
    await page.recognize(user=True)
    await page.press("Use a passkey")
    await page.shows("Allow Support desk access?")
    await page.press("Allow")
    body = await town.redeem(client, (await town.answer(page))["code"])
    assert body["scope"] == "customer:read ticket:create"
    assert town.events.of(Kind.LOGIN_SUCCEEDED)[-1].detail["by"] == "passkey"

    await page.open(f"{town.issuer}/account/sign-in")
    await page.press("Remove")
    await page.shows("Remove this passkey?")
    await page.fill("proof", PASSWORD)
    await page.enter()
    await page.shows("How you sign in")
    await page.press("Sign out")
    await page.shows("You are signed out")
    await page.open(f"{town.issuer}/passkey")
    await page.until("document.querySelector('[role=alert]')")
    await look(page, "passkey-refused")
