"""Clients that others wrote get through the whole flow: Authlib's, and the MCP SDK's two."""

import time

import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]  # Authlib has no types
from authlib.oauth2.rfc7523 import PrivateKeyJWT  # type: ignore[import-untyped]
from joserfc.jwk import RSAKey
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from garrison.authserver.admin import NewClient
from garrison.base.events import Kind
from garrison.oauth import challenge, jwks, pkce, resource_metadata
from garrison.oauth.errors import InvalidToken
from garrison.oauth.jwks import SigningKey
from tests.authserver.world import CALLBACK, ISSUER, ON_EVERY_ENGINE, RESOURCE, Make, World, query_of


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
@ON_EVERY_ENGINE
async def test_authlib_signs_in_refreshes_and_revokes(world: World, method: str) -> None:
    await world.user()
    public = method == "none"
    client = await world.client(public=public) if public else await world.client(method=method)
    async with AsyncOAuth2Client(
        client.client_id,
        client.client_secret,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        redirect_uri=CALLBACK,
        scope="customer:read",
        code_challenge_method="S256",
        transport=httpx2.ASGITransport(app=world.app),
    ) as foreign:
        verifier = pkce.new_verifier()
        url, state = foreign.create_authorization_url(f"{ISSUER}/authorize", code_verifier=verifier, resource=RESOURCE)
        answer = await _decided(world, url)
        token = await foreign.fetch_token(
            f"{ISSUER}/token", authorization_response=answer, code_verifier=verifier, state=state
        )
        assert world.read(token["access_token"]).subject == "alice"
        again = await foreign.refresh_token(f"{ISSUER}/token", refresh_token=token["refresh_token"])
        assert again["refresh_token"] != token["refresh_token"]
        revoked = await foreign.revoke_token(f"{ISSUER}/revoke", token=again["refresh_token"])
        assert revoked.status_code == 200


@ON_EVERY_ENGINE
async def test_authlib_asks_about_a_token_as_a_resource_server_and_its_client_revokes_it(world: World) -> None:
    client, server = await world.client(), await world.client(introspects=[RESOURCE])
    network = httpx2.ASGITransport(app=world.app)
    async with (
        AsyncOAuth2Client(client.client_id, client.client_secret, transport=network) as caller,
        AsyncOAuth2Client(server.client_id, server.client_secret, transport=network) as resource_server,
    ):
        token = (await caller.fetch_token(f"{ISSUER}/token", grant_type="client_credentials"))["access_token"]
        told = (await resource_server.introspect_token(f"{ISSUER}/introspect", token=token)).json()
        assert (told["active"], told["client_id"], told["aud"]) == (True, client.client_id, RESOURCE)
        assert (await caller.revoke_token(f"{ISSUER}/revoke", token=token)).status_code == 200
        told = (await resource_server.introspect_token(f"{ISSUER}/introspect", token=token)).json()
        assert told == {"active": False}


async def test_the_mcp_sdks_client_discovers_signs_in_and_calls(world: World) -> None:
    await world.user()
    client = await world.client(public=True)
    browser = Browser(world)
    provider = OAuthClientProvider(
        RESOURCE,
        OAuthClientMetadata(redirect_uris=[AnyUrl(CALLBACK)], scope="customer:read"),
        Storage(client),
        redirect_handler=browser.redirect,
        callback_handler=browser.callback,
    )
    async with _network(world, provider) as http:
        assert (await http.get(RESOURCE)).json() == {"subject": "alice"}


async def test_the_mcp_sdks_client_credentials_provider_calls(world: World) -> None:
    client = await world.client()
    provider = ClientCredentialsOAuthProvider(
        RESOURCE, Storage(client), client.client_id, client.client_secret or "", scope="customer:read", issuer=ISSUER
    )
    async with _network(world, provider) as http:
        assert (await http.get(RESOURCE)).json() == {"subject": client.client_id}


async def test_the_mcp_sdks_private_key_jwt_provider_calls(world: World) -> None:
    key = jwks.new_signing_key()
    client = await world.client(method="private_key_jwt", jwks=jwks.public_set([key]))
    world.time = time.time()
    signed = SignedJWTParameters(
        issuer=client.client_id, subject=client.client_id, signing_key=_pem(key), lifetime_seconds=300
    )
    provider = PrivateKeyJWTOAuthProvider(
        RESOURCE,
        Storage(client),
        client.client_id,
        signed.create_assertion_provider(),
        scope="customer:read",
        issuer=ISSUER,
    )
    async with _network(world, provider) as http:
        assert (await http.get(RESOURCE)).json() == {"subject": client.client_id}


async def test_authlibs_private_key_jwt_gets_a_token(world: World) -> None:
    """Told to name the issuer as the audience, and to sign for five minutes rather than its hour."""
    key = jwks.new_signing_key()
    client = await world.client(method="private_key_jwt", jwks=jwks.public_set([key]))
    async with AsyncOAuth2Client(
        client.client_id,
        _pem(key),
        token_endpoint_auth_method="private_key_jwt",
        transport=httpx2.ASGITransport(app=world.app),
    ) as foreign:
        world.time = time.time()
        claims = {"exp": int(world.time) + 250}
        foreign.register_client_auth_method(PrivateKeyJWT(ISSUER, claims=claims))
        token = await foreign.fetch_token(f"{ISSUER}/token", grant_type="client_credentials", resource=RESOURCE)
        assert world.read(token["access_token"]).client_id == client.client_id


@pytest.mark.parametrize("redirect", ["https://app.example/sdk", "http://127.0.0.1:3030/callback"])
@ON_EVERY_ENGINE
async def test_the_mcp_sdks_client_is_known_by_its_metadata_document(world: World, redirect: str) -> None:
    await world.user()
    url = "https://app.example/mcp-client.json"
    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(redirect)], token_endpoint_auth_method="none")
    world.web.publish(url, {**metadata.model_dump(mode="json", exclude_none=True), "client_id": url})
    browser = Browser(world)
    provider = OAuthClientProvider(
        RESOURCE,
        metadata,
        Storage(None),
        redirect_handler=browser.redirect,
        callback_handler=browser.callback,
        client_metadata_url=url,
    )
    async with _network(world, provider) as http:
        assert (await http.get(RESOURCE)).json() == {"subject": "alice"}
    assert world.events.of(Kind.TOKEN_ISSUED)[0].client_id == url


async def test_the_mcp_sdks_client_registers_itself(make_world: Make) -> None:
    world = await make_world(registration=True)
    await world.user()
    browser, storage = Browser(world), Storage(None)
    provider = OAuthClientProvider(
        RESOURCE,
        OAuthClientMetadata(redirect_uris=[AnyUrl("http://127.0.0.1:3030/callback")], client_name="SDK"),
        storage,
        redirect_handler=browser.redirect,
        callback_handler=browser.callback,
    )
    async with _network(world, provider) as http:
        assert (await http.get(RESOURCE)).json() == {"subject": "alice"}
    assert storage.registered
    assert world.events.of(Kind.TOKEN_ISSUED)[0].client_id == storage.registered.client_id


def _pem(key: SigningKey) -> str:
    assert isinstance(key.private, RSAKey)
    return key.private.as_pem(private=True).decode()


async def _decided(world: World, url: str) -> str:
    """Where the browser of alice ends up who follows `url`, signs in and approves."""
    async with world.browser() as browser:
        response = await browser.get(url)
        response = await browser.get(response.headers["location"])
        response = await world.sign_in(browser, response.headers["location"])
        page = await browser.get(response.headers["location"])
        response = await world.decide(browser, page)
    assert "code" in query_of(response)
    return str(response.headers["location"])


class Browser:
    """Alice's, as the SDK's two handlers of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answer = ""

    async def redirect(self, url: str) -> None:
        self.answer = await _decided(self.world, url)

    async def callback(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**httpx2.URL(self.answer).params)


class Storage:
    """The SDK's token storage, in memory; for a client that is registered already, unless that is None."""

    def __init__(self, client: NewClient | None) -> None:
        self.client = client
        self.registered: OAuthClientInformationFull | None = None
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        if self.client is None:
            return self.registered
        return OAuthClientInformationFull(
            client_id=self.client.client_id,
            client_secret=self.client.client_secret,
            token_endpoint_auth_method=self.client.client.method,
            redirect_uris=[AnyUrl(CALLBACK)],
        )

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.registered = client_info


def _network(world: World, auth: httpx2.Auth) -> httpx2.AsyncClient:
    """A client to whom both the authorization server and the resource are on the network."""
    return httpx2.AsyncClient(
        auth=auth,
        mounts={
            ISSUER: httpx2.ASGITransport(app=world.app),
            RESOURCE.removesuffix("/mcp"): httpx2.ASGITransport(app=_resource(world)),
        },
    )


def _resource(world: World) -> Starlette:
    """The least that is a protected resource (RFC 9728)."""
    metadata_url = resource_metadata.well_known_urls(RESOURCE)[0]

    async def metadata(_request: Request) -> Response:
        return JSONResponse(resource_metadata.document(RESOURCE, [ISSUER], ["customer:read"]))

    async def whoami(request: Request) -> Response:
        try:
            token = world.read(request.headers.get("authorization", "").removeprefix("Bearer "))
        except InvalidToken:
            refused = {"WWW-Authenticate": challenge.render(resource_metadata=metadata_url)}
            return Response(status_code=401, headers=refused)
        return JSONResponse({"subject": token.subject})

    paths = resource_metadata.well_known_paths(RESOURCE)
    return Starlette(routes=[Route("/mcp", whoami), *(Route(path, metadata) for path in paths)])
