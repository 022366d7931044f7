"""npm's oidc-provider, a certified OpenID provider that others wrote, signs users in: one process, real HTTP."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import time
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2
import pytest
from anyio.streams.text import TextReceiveStream
from starlette.applications import Starlette

from garrison.authserver.federation.settings import Allow, IdentityProvider
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.store import open_store
from garrison.base.events import Kind
from garrison.demo.browser import Form
from garrison.oauth import jwks
from tests.authserver.federation.provider import Links
from tests.authserver.world import CALLBACK, CHEAP, ISSUER, RESOURCE, SCOPES, World, query_of
from tests.foreign.town import environment, node

pytestmark = pytest.mark.needs("oidc-provider")

CLIENT, SECRET = "garrison", "s3cret of sufficient length"
SCRIPT = Path(__file__).with_name("provider.mjs")
SUPPORT = Allow(scope=frozenset({"customer:read"}), claims={"groups": ["support"]})


@asynccontextmanager
async def provider(home: Path) -> AsyncIterator[str]:
    """The issuer of a provider that runs for as long as the block."""
    command = [node(), str(SCRIPT), CLIENT, SECRET, f"{ISSUER}/login/callback"]
    async with await anyio.open_process(command, env=environment(home), stderr=None) as process:
        assert process.stdin
        assert process.stdout
        said = ""
        async for text in TextReceiveStream(process.stdout):
            said += text
            if said.endswith("\n"):
                break
        yield said.strip()
        await process.stdin.aclose()


class LiveWorld(World):
    """By the real time, which the provider goes by."""

    def now(self) -> float:
        self.time = time()
        return self.time


@asynccontextmanager
async def world(home: Path, issuer: str) -> AsyncIterator[World]:
    wanted = IdentityProvider(
        issuer=issuer,
        client_id=CLIENT,
        client_secret=SECRET,
        allow=[SUPPORT],
        scopes=frozenset({"profile", "groups"}),
        username_claim="preferred_username",
    )
    settings = AuthServerSettings(
        issuer=ISSUER,
        database_url=str(home / "auth.db"),
        signing_keys=[jwks.new_signing_key("ES256")],
        secret=b"s" * 32,
        resources={RESOURCE: SCOPES},
        password_cost=CHEAP,
        identity_provider=wanted,
    )
    async with AsyncExitStack() as stack, open_store(settings.database_url) as store:
        made = LiveWorld(settings, store, Starlette(), stack)
        made.app = await made.another_app()
        yield made


class Person:
    """Somebody at a browser: one cookie jar for our server, which is reached over ASGI, one for all that is on HTTP."""

    def __init__(self, ours: httpx2.AsyncClient, theirs: httpx2.AsyncClient, name: str) -> None:
        self._ours = ours
        self._theirs = theirs
        self._name = name

    def _browser(self, url: str) -> httpx2.AsyncClient:
        return self._ours if url.startswith(ISSUER) else self._theirs

    async def walk(self, url: str, *, cancel: bool = False) -> httpx2.Response:
        """From `url` on, agreeing to all, to the client or to a page that nothing follows."""
        response = await self._browser(url).get(url)
        for _ in range(20):
            if response.status_code in {302, 303}:
                url = urljoin(url, response.headers["location"])
                if url.startswith(CALLBACK):
                    return response
                response = await self._browser(url).get(url)
            elif refresh := Links(response.text).refresh:
                url = urljoin(url, refresh)
                response = await self._browser(url).get(url)
            elif abort := self._cancel(url, response) if cancel else "":
                url = abort
                response = await self._browser(url).get(url)
            elif response.status_code == 200 and (form := Form(response.text)).action:
                url = urljoin(url, form.action)
                typed = {name: self._name if name == "login" else value for name, value in form.fields.items()}
                response = await self._browser(url).post(url, data={**typed, **dict(form.buttons[-1:])})
            else:
                return response
        raise AssertionError(f"no end at {url}")

    def _cancel(self, url: str, response: httpx2.Response) -> str:
        """The provider's link back without signing in, where there is one."""
        return next((urljoin(url, link) for link in Links(response.text).links if link.endswith("/abort")), "")


@asynccontextmanager
async def person(world: World, name: str) -> AsyncIterator[Person]:
    async with world.browser() as ours, httpx2.AsyncClient(trust_env=False) as theirs:
        yield Person(ours, theirs, name)


async def test_users_sign_in_at_a_foreign_provider_from_a_clients_request_to_its_tokens(tmp_path: Path) -> None:
    async with provider(tmp_path) as issuer, world(tmp_path, issuer) as ours:
        client = await ours.client(public=True)
        request = httpx2.URL(f"{ISSUER}/authorize", params=ours.authorization(client))
        async with person(ours, "alice") as alice:
            arrived = await alice.walk(str(request))
            code = query_of(arrived)["code"]
            response = await ours.token(client, ours.redemption(client, code))
            token = ours.read(response.json()["access_token"])
            assert token.subject == "idp:alice"
            assert token.scopes == {"customer:read"}
            # The provider remembers alice and our server now does too: the usual question, and nobody leaves.
            assert query_of(await alice.walk(str(request)))["code"]
        assert [event.subject for event in ours.events.of(Kind.LOGIN_SUCCEEDED)] == ["idp:alice"]

        async with person(ours, "bob") as bob:
            refused = await bob.walk(str(request))
        assert refused.status_code == 403
        assert "Your account there may not be used here" in refused.text

        async with person(ours, "alice") as alice:
            cancelled = await alice.walk(str(request), cancel=True)
        assert cancelled.status_code == 403
        assert "You were not signed in there" in cancelled.text
        assert urlsplit(issuer).netloc in cancelled.text
        assert [event.reason for event in ours.events.of(Kind.LOGIN_FAILED)] == [
            "no rule lets subject bob in",
            "the provider answered access_denied",
        ]
