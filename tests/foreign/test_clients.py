"""Clients that others wrote get through a real guard, with tokens of a real authorization server."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import fastmcp
import httpx2
import pytest
from examples.guarded_fastmcp import mcp, policy
from fastmcp.client.transports import StreamableHttpTransport
from mcp import Client, StdioServerParameters
from mcp.client.auth import TokenStorage
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from garrison.authserver import admin
from garrison.demo.browser import sign_in_and_consent
from garrison.serving import free_port
from tests.authserver.world import CHEAP
from tests.foreign.town import Town, command, environment, new_resource, run_program, town

SCOPE = "math:use"
MODES = pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])


@dataclass
class Adder:
    """A guarded FastMCP server, and the town that it stands in."""

    town: Town
    url: str

    async def token(self) -> str:
        return await self.town.token(self.url, SCOPE)


@pytest.fixture
async def adder(tmp_path: Path) -> AsyncIterator[Adder]:
    url = new_resource()
    async with town(tmp_path, {url: frozenset({SCOPE})}) as place, place.guarded(mcp, policy, url):
        yield Adder(place, url)


class Memory(TokenStorage):
    """What the SDK's provider remembers."""

    tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Nothing to remember: the client was registered by the operator."""


async def credentials(adder: Adder) -> ClientCredentialsOAuthProvider:
    """The SDK's own way from a 401 to a token: challenge, metadata, token request."""
    client = await admin.add_client(adder.town.store, "Machine", grants=["client_credentials"], scope=SCOPE)
    return ClientCredentialsOAuthProvider(
        adder.url,
        Memory(),
        client.client_id,
        client.client_secret or "",
        token_endpoint_auth_method="client_secret_basic",
        issuer=adder.town.issuer,
    )


@MODES
async def test_the_mcp_sdks_client_gets_itself_a_token_and_calls(adder: Adder, mode: Any) -> None:
    async with (
        httpx2.AsyncClient(auth=await credentials(adder), trust_env=False) as http,
        Client(streamable_http_client(adder.url, http_client=http), mode=mode) as client,
    ):
        await listed_and_called(client)


@MODES
async def test_fastmcps_client_gets_itself_a_token_and_calls(adder: Adder, mode: Any) -> None:
    transport = StreamableHttpTransport(adder.url, auth=await credentials(adder))
    async with fastmcp.Client(transport, mode=mode) as client:
        assert [tool.name for tool in await client.list_tools()] == ["add"]
        assert (await client.call_tool("add", {"a": 2, "b": 3})).data == 5


async def listed_and_called(client: Client) -> None:
    assert [tool.name for tool in (await client.list_tools()).tools] == ["add"]
    assert (await client.call_tool("add", {"a": 2, "b": 3})).structured_content == {"result": 5}


@pytest.mark.needs("inspector")
@pytest.mark.xdist_group("npm")
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_inspector_lists_and_calls(adder: Adder, tmp_path: Path, era: str) -> None:
    bearer = f"Authorization: Bearer {await adder.token()}"
    asked = ("--cli", adder.url, "--transport", "http", "--protocol-era", era, "--header", bearer, "--method")
    answers: dict[str, Any] = {}

    async def ask(method: str, *arguments: str) -> None:
        status, output, errors = await run_program("inspector", *asked, method, *arguments, home=tmp_path)
        assert status == 0, output + errors
        answers[method] = json.loads(output)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "tools/list")
        tasks.start_soon(ask, "tools/call", "--tool-name", "add", "--tool-arg", "a=2", "b=3")
    assert [tool["name"] for tool in answers["tools/list"]["tools"]] == ["add"]
    assert answers["tools/call"]["structuredContent"] == {"result": 5}


@asynccontextmanager
async def remote(adder: Adder, home: Path, *arguments: str) -> AsyncIterator[tuple[Any, Path]]:
    """mcp-remote before the guard, as the stdio server that it is; and the file that it complains to."""
    program, *rest = command("mcp-remote", adder.url, *arguments)
    complaints = home / "complaints.txt"
    parameters = StdioServerParameters(command=program, args=rest, env=environment(home), cwd=home)
    with complaints.open("w") as errors:
        yield stdio_client(parameters, errlog=errors), complaints


@pytest.mark.needs("mcp-remote")
@pytest.mark.xdist_group("npm")
async def test_mcp_remote_calls_with_a_token_that_it_is_given(adder: Adder, tmp_path: Path) -> None:
    header = tmp_path / "header.txt"
    header.write_text(f"Authorization: Bearer {await adder.token()}\n")
    with anyio.fail_after(100):
        async with remote(adder, tmp_path, "--header-file", str(header)) as (stdio, _), Client(stdio) as client:
            await listed_and_called(client)


@pytest.mark.needs("mcp-remote")
@pytest.mark.xdist_group("npm")
async def test_mcp_remote_signs_a_user_in_and_calls(adder: Adder, tmp_path: Path) -> None:
    """From the guard's 401 by its metadata to the authorization server's pages, and back with a code."""
    port = free_port("127.0.0.1", 0)
    redirect_uri = f"http://127.0.0.1:{port}/oauth/callback"
    client = await admin.add_client(
        adder.town.store,
        "mcp-remote",
        grants=["authorization_code", "refresh_token"],
        scope=SCOPE,
        redirect_uris=[redirect_uri],
        public=True,
    )
    user = await admin.add_user(adder.town.store, "alice", scope=SCOPE, cost=CHEAP)
    known = json.dumps({"client_id": client.client_id})
    arguments = (str(port), "--host", "127.0.0.1", "--static-oauth-client-info", known, "--auth-timeout", "100")

    async def sign_in(complaints: Path) -> None:
        while not (found := re.search(rf"{adder.town.issuer}/authorize\S+", complaints.read_text())):
            await anyio.sleep(0.05)
        typed = {"username": user.username, "password": user.password}
        async with httpx2.AsyncClient(trust_env=False) as browser:
            await browser.get(await sign_in_and_consent(browser, found.group(), redirect_uri, typed))

    with anyio.fail_after(100):
        async with AsyncExitStack() as stack:
            stdio, complaints = await stack.enter_async_context(remote(adder, tmp_path, *arguments))
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(sign_in, complaints)
            async with Client(stdio) as session:
                await listed_and_called(session)
