"""Servers of 2025-03-26, which are their own authorization server and publish nothing: only where the user says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from garrison.clients.errors import AuthorizationFailed
from garrison.clients.session import connect
from tests.clients.browser import Browser
from tests.clients.world import AuthServer, McpGate, World, serving

ASK = ("get_customer_info", {"customer_id": "ABC123"})


@asynccontextmanager
async def old_server() -> AsyncIterator[tuple[McpGate, AuthServer]]:
    """MCP and /authorize, /token and /register at one origin; no metadata of any kind."""
    gate = McpGate(metadata_url="-")
    issuer = AuthServer(registering=True, metadata_path="/nowhere")
    issuer.token_answer = lambda form: {"access_token": "opaque-but-good", "token_type": "Bearer", "scope": "all"}
    authorization = issuer.app()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if "oauth-protected-resource" in scope["path"]:
            await Response(status_code=404)(scope, receive, send)
        else:
            await (gate if scope["path"] == "/mcp" else authorization)(scope, receive, send)

    async with gate.inner.router.lifespan_context(gate.inner), serving(app) as origin:
        gate.url, issuer.issuer, gate.issuers = f"{origin}/mcp", origin, [origin]
        yield gate, issuer


async def test_a_server_that_says_nothing_is_not_believed_to_be_its_own_authorization_server() -> None:
    browser = Browser()
    async with old_server() as (gate, issuer):
        with pytest.raises(AuthorizationFailed, match="does not say whose"):
            async with connect(gate.url, login=browser.login()):
                pass
    assert (browser.urls, issuer.registrations, issuer.forms) == ([], [], [])


async def test_where_the_user_says_so_the_old_default_endpoints_are_used_with_pkce() -> None:
    async with old_server() as (gate, issuer):
        async with connect(gate.url, login=Browser().login(), legacy_authorization=True) as session:
            assert not (await session.call(*ASK)).is_error
        (query,), (form,) = issuer.authorize_queries, issuer.forms
    assert query["code_challenge_method"] == "S256"
    assert form["code_verifier"]
    assert len(issuer.registrations) == 1


async def test_the_old_endpoints_are_used_for_the_servers_own_origin_alone(world: World) -> None:
    """Metadata that names an authorization server which publishes nothing about itself is the end of the search."""
    world.issuer.metadata_path = "/nowhere"
    with pytest.raises(AuthorizationFailed, match="publishes no metadata"):
        async with connect(world.url, login=Browser().login(), legacy_authorization=True):
            pass
    assert world.issuer.registrations == []
