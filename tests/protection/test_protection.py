"""`protect`: three lines around any MCP server, and nothing served without a guard."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from fastmcp import FastMCP
from fastmcp.server.middleware import Middleware
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from pydantic import Field
from starlette.types import ASGIApp

import garrison
from garrison import LimitSettings, Policy, needs, protect
from garrison.base.errors import GarrisonError, UsageError
from garrison.base.events import Kind
from garrison.home import Home
from garrison.monitor.store import EventStore
from garrison.servers import fastmcp_schemas
from garrison.serving import Endpoint, bind, free_port, running
from tests.guard.world import Issuer, IssuerHost, modern

POLICY = Policy(tools={"add": needs("math:use")})


@pytest.fixture(scope="module")
def issuer_host() -> Iterator[IssuerHost]:
    host = IssuerHost()
    yield host
    host.close()


@pytest.fixture
def issuer(issuer_host: IssuerHost) -> Issuer:
    return issuer_host.new_issuer()


@pytest.fixture
def resource() -> str:
    return f"http://localhost:{free_port('localhost', 0)}/mcp"


def fastmcp_server() -> Any:
    server = FastMCP("adder")
    server.tool(add)
    return server


def sdk_server() -> Any:
    server = MCPServer("adder", log_level="ERROR")
    server.add_tool(add)
    return server


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def near(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """What is near."""
    return region


@asynccontextmanager
async def served(app: ASGIApp, resource: str) -> AsyncIterator[None]:
    port = int(resource.rpartition(":")[2].partition("/")[0])
    async with running(Endpoint("server", app, bind("server", "localhost", port))):
        yield


@asynccontextmanager
async def connected(resource: str, token: str, mode: str) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(resource, http_client=http), mode=mode) as client,
    ):
        yield client


async def called(resource: str, token: str, arguments: dict[str, Any], mode: str) -> Any:
    async with connected(resource, token, mode) as client:
        return await client.call_tool("add", arguments)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.parametrize("server", [fastmcp_server, sdk_server])
async def test_three_lines_guard_a_server_in_both_eras(
    tmp_path: Path, issuer: Issuer, resource: str, server: Any, mode: str
) -> None:
    app = protect(server(), POLICY, resource=resource, issuer=issuer.url, home=tmp_path / "h")
    async with served(app, resource):
        token = issuer.mint("math:use", audience=resource)
        assert (await called(resource, token, {"a": 2, "b": 3}, mode)).structured_content == {"result": 5}
        wrong = await called(resource, token, {"a": 2, "b": "three", "c": 4}, mode)
        assert wrong.is_error
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.get(resource, headers={"authorization": "Bearer x"})).status_code == 401
    async with EventStore(tmp_path / "h" / "events.db") as events:
        kinds = {event.kind for event in await events.recent()}
    assert {Kind.CALL_ALLOWED, Kind.INPUT_REJECTED, Kind.AUTHENTICATION_FAILED} <= kinds


def find(query: str | list[str] | None = None, plain: str = "") -> str:
    """Find by a word or by several."""
    return f"{type(query).__name__} {plain}"


DISGUISED = ['["a", "b"]', ' {"a": 1}', "null", "[]", "\n null "]
PLAIN = ["[draft] title", "nullable", "{name}", "7", "true", '"a"', "[" * 5000]


@pytest.mark.parametrize("given", ["the server's", "by hand"])
async def test_the_sdks_tools_get_no_value_that_was_judged_as_a_text(
    tmp_path: Path, issuer: Issuer, resource: str, given: str
) -> None:
    server = MCPServer("finder", log_level="ERROR")
    server.add_tool(find)
    by_hand: dict[str, Any] = {"find": {"properties": {"query": {}, "plain": {}}}}
    schemas = by_hand if given == "by hand" else None
    policy = Policy(tools={"find": needs()})
    app = protect(server, policy, resource=resource, issuer=issuer.url, home=tmp_path / "h", schemas=schemas)
    token = issuer.mint("math:use", audience=resource)
    async with served(app, resource), connected(resource, token, "2026-07-28") as client:

        async def found(**arguments: Any) -> Any:
            return await client.call_tool("find", arguments)

        for text in DISGUISED:
            refused = await found(query=text)
            assert refused.is_error, text
            assert "'query' a text that holds JSON" in refused.content[0].text
            assert (await found(plain=text)).content[0].text == f"NoneType {text}"  # the SDK leaves these alone
        for text in PLAIN:
            assert (await found(query=text)).content[0].text == "str ", text
        assert (await found(query=["a", "b"])).content[0].text == "list "
        assert (await found(query=None)).content[0].text == "NoneType "


class Lists(Middleware):
    """Counts the lists of tools that a server is asked for."""

    def __init__(self) -> None:
        self.made = 0

    async def on_list_tools(self, context: Any, call_next: Any) -> Any:
        self.made += 1
        return await call_next(context)


@pytest.mark.parametrize("given", ["the server", "its application"])
async def test_fastmcp_lists_no_tools_for_a_call_of_one(
    tmp_path: Path, issuer: Issuer, resource: str, given: str
) -> None:
    lists, server = Lists(), fastmcp_server()
    server.add_middleware(lists)
    server.tool(near)
    known: dict[str, Any] = (
        {"server": server}
        if given == "the server"
        else {"server": server.http_app(path="/mcp"), "schemas": await fastmcp_schemas(server)}
    )
    app = protect(policy=POLICY, resource=resource, issuer=issuer.url, home=tmp_path / "h", **known)
    token = issuer.mint("math:use", audience=resource)
    async with served(app, resource):
        lists.made = 0
        assert (await called(resource, token, {"a": 2, "b": 3}, "2026-07-28")).structured_content == {"result": 5}
        assert lists.made == 1  # the client's own, to check the answer
        told = server._mcp_server.get_tool_input_schema
        assert told("near")["properties"]["region"]["x-mcp-header"] == "Region"
        assert told("add") is None  # there is nothing to hold against it
    assert server._mcp_server.get_tool_input_schema is None  # as it was


async def test_what_a_server_says_of_its_schemas_itself_stays(tmp_path: Path, issuer: Issuer, resource: str) -> None:
    server = fastmcp_server()
    server._mcp_server.get_tool_input_schema = own = {"add": {"type": "object"}}.get
    app = protect(server, POLICY, resource=resource, issuer=issuer.url, home=tmp_path / "h")
    async with served(app, resource):
        assert server._mcp_server.get_tool_input_schema is own
    assert server._mcp_server.get_tool_input_schema is own


async def test_a_server_that_can_not_list_its_tools_is_guarded_by_the_schemas_that_are_given(
    tmp_path: Path, issuer: Issuer, resource: str
) -> None:
    server = fastmcp_server()
    schemas = await fastmcp_schemas(server)
    app = server.http_app(path="/mcp")
    server.list_tools = _away
    guarded = protect(app, POLICY, resource=resource, issuer=issuer.url, home=tmp_path / "h", schemas=schemas)
    token = issuer.mint("math:use", audience=resource)
    async with served(guarded, resource):
        del server.list_tools  # it is back
        assert (await called(resource, token, {"a": 2, "b": 3}, "2026-07-28")).structured_content == {"result": 5}


async def _away() -> None:
    raise ConnectionError("the backend is away")


async def test_issuers_are_named_by_address_or_described(tmp_path: Path, issuer: Issuer, resource: str) -> None:
    issuers: list[str | garrison.Issuer] = [issuer.url, garrison.Issuer.auth0("acme.eu.auth0.com")]
    app = protect(fastmcp_server(), POLICY, resource=resource, issuer=issuers, home=tmp_path / "h")
    async with served(app, resource), httpx2.AsyncClient(trust_env=False) as http:
        token = issuer.mint("math:use", audience=resource)
        assert (await called(resource, token, {"a": 2, "b": 3}, "auto")).structured_content == {"result": 5}
        document = (await http.get(resource.replace("/mcp", "/.well-known/oauth-protected-resource"))).json()
        assert document["authorization_servers"] == [issuer.url, "https://acme.eu.auth0.com/"]


async def test_limits_and_a_missing_scope_are_the_guards(tmp_path: Path, issuer: Issuer, resource: str) -> None:
    limits = LimitSettings(requests_per_minute=1)
    app = protect(fastmcp_server(), POLICY, resource=resource, issuer=issuer.url, home=tmp_path / "h", limits=limits)
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {}}}
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    async with served(app, resource), httpx2.AsyncClient(trust_env=False, headers=headers) as http:
        poor = {"authorization": f"Bearer {issuer.mint('other', audience=resource)}"}
        response = await http.post(resource, content=json.dumps(message), headers=poor)
        assert (response.status_code, 'scope="math:use"' in response.headers["www-authenticate"]) == (403, True)
        rich = {"authorization": f"Bearer {issuer.mint('math:use', audience=resource, subject='bob')}"}
        ping = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        statuses = [(await http.post(resource, content=ping, headers=rich)).status_code for _ in range(2)]
        assert statuses[1] == 429


async def test_the_guards_own_settings_reach_it(tmp_path: Path, issuer: Issuer, resource: str) -> None:
    app = protect(
        fastmcp_server(),
        POLICY,
        resource=resource,
        issuer=issuer.url,
        home=tmp_path / "h",
        filter_lists=False,
        allowed_origins=["https://app.example"],
    )
    headers = {
        "accept": "application/json, text/event-stream",
        "origin": "https://app.example",
        "authorization": f"Bearer {issuer.mint('other', audience=resource)}",
    }
    async with served(app, resource), httpx2.AsyncClient(trust_env=False, headers=headers) as http:
        listed = await http.post(resource, **modern("tools/list"))
    assert '"add"' in listed.text


async def test_a_proxy_that_is_trusted_says_who_the_stranger_was(tmp_path: Path, issuer: Issuer, resource: str) -> None:
    app = protect(
        fastmcp_server(),
        POLICY,
        resource=resource,
        issuer=issuer.url,
        home=tmp_path / "h",
        trusted_proxies=["127.0.0.0/8", "::1"],
    )
    async with served(app, resource), httpx2.AsyncClient(trust_env=False) as http:
        await http.get(resource, headers={"x-forwarded-for": "198.51.100.7"})
    async with EventStore(tmp_path / "h" / "events.db") as events:
        assert "198.51.100.7" in {event.address for event in await events.recent()}


async def test_any_asgi_application_can_be_guarded_when_its_schemas_are_given(
    tmp_path: Path, issuer: Issuer, resource: str
) -> None:
    inner = fastmcp_server()
    schemas = {"add": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}
    app = protect(
        inner.http_app(path="/mcp"), POLICY, resource=resource, issuer=issuer.url, home=tmp_path / "h", schemas=schemas
    )
    async with served(app, resource):
        token = issuer.mint("math:use", audience=resource)
        assert (await called(resource, token, {"a": 1, "b": 1}, "auto")).structured_content == {"result": 2}


@pytest.mark.parametrize("said", ["argument", "environment"])
async def test_a_store_of_budgets_that_is_down_is_an_event(
    tmp_path: Path, issuer: Issuer, resource: str, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """Wherever the store is named: limits of one's own don't make each replica count by itself."""
    url = f"redis://127.0.0.1:{free_port('localhost', 0)}/0"
    if said == "environment":
        monkeypatch.setenv("REDIS_URL", url)
    limits = LimitSettings(redis_url=url if said == "argument" else None)
    app = protect(fastmcp_server(), POLICY, resource=resource, issuer=issuer.url, home=tmp_path / "h", limits=limits)
    async with served(app, resource):
        token = issuer.mint("math:use", audience=resource)
        assert (await called(resource, token, {"a": 2, "b": 3}, "auto")).structured_content == {"result": 5}
    async with EventStore(tmp_path / "h" / "events.db") as events:
        assert len(await events.recent(kinds=[Kind.LIMIT_STORE_DOWN])) == 1


def test_an_asgi_application_without_schemas_is_refused() -> None:
    with pytest.raises(UsageError, match="schemas are not known"):
        protect(fastmcp_server().http_app(), POLICY, resource="http://localhost:1/mcp", issuer="http://localhost:2")


def test_what_is_no_server_is_refused() -> None:
    with pytest.raises(UsageError, match="neither"):
        protect(42, POLICY, resource="http://localhost:1/mcp", issuer="http://localhost:2", schemas={})


@pytest.mark.parametrize("issuer_url", ["http://issuer.example", ""])
async def test_a_guard_that_would_be_unsafe_does_not_start(tmp_path: Path, resource: str, issuer_url: str) -> None:
    app = protect(fastmcp_server(), POLICY, resource=resource, issuer=issuer_url, home=tmp_path / "h")
    with pytest.raises(GarrisonError, match="did not start"):
        async with served(app, resource):
            pass


async def test_without_its_lifespan_nothing_is_served(tmp_path: Path) -> None:
    app = protect(
        fastmcp_server(), POLICY, resource="http://localhost:1/mcp", issuer="http://localhost:2", home=tmp_path
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost:1") as http:
        assert (await http.post("/mcp")).status_code == 503
        assert (await http.get("/.well-known/oauth-protected-resource/mcp")).status_code == 503


async def test_the_secret_is_made_once_and_kept_private(tmp_path: Path, issuer: Issuer, resource: str) -> None:
    home = Home(tmp_path / "h")
    for _ in range(2):
        async with served(
            protect(fastmcp_server(), POLICY, resource=resource, issuer=issuer.url, home=home.folder), resource
        ):
            pass
        assert home.secret.stat().st_mode & 0o777 == 0o600
    assert len(home.read_secret()) == 32


def test_the_front_door_names_only_what_there_is() -> None:
    assert all(getattr(garrison, name) for name in garrison.__all__)
    with pytest.raises(AttributeError, match="attic"):
        _ = garrison.attic


@pytest.mark.parametrize("said", ["file", "environment", "argument"])
async def test_budgets_come_from_the_argument_the_environment_or_the_file_in_this_order(
    issuer: Issuer, resource: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    (tmp_path / "garrison.toml").write_text("[limits]\nrequests_per_minute = 2\n")
    if said != "file":
        monkeypatch.setenv("RATE_LIMIT_REQUESTS_PER_MINUTE", "3")
    limits = LimitSettings(requests_per_minute=4) if said == "argument" else None
    app = protect(fastmcp_server(), POLICY, resource=resource, issuer=issuer.url, home=tmp_path, limits=limits)
    async with served(app, resource), httpx2.AsyncClient(trust_env=False) as http:
        headers = {"authorization": f"Bearer {issuer.mint('math:use', audience=resource)}"}
        statuses = [(await http.delete(resource, headers=headers)).status_code for _ in range(5)]
    assert statuses.index(429) == {"file": 2, "environment": 3, "argument": 4}[said]


async def test_the_policy_may_stand_in_the_file(issuer: Issuer, resource: str, tmp_path: Path) -> None:
    (tmp_path / "garrison.toml").write_text('[policy.tools.add]\nscopes = ["math:use"]\n')
    app = protect(fastmcp_server(), resource=resource, issuer=issuer.url, home=tmp_path)
    async with served(app, resource):
        token = issuer.mint("math:use", audience=resource)
        assert (await called(resource, token, {"a": 2, "b": 3}, "legacy")).structured_content == {"result": 5}


@pytest.mark.parametrize("file", [None, "[limits]\nrequests_per_minute = 5\n"])
def test_without_any_policy_nothing_starts(tmp_path: Path, file: str | None) -> None:
    if file:
        (tmp_path / "garrison.toml").write_text(file)
    with pytest.raises(UsageError, match=r"no \[policy\]"):
        protect(fastmcp_server(), resource="https://mcp.example/mcp", issuer="https://as.example", home=tmp_path)


@pytest.mark.parametrize("server", [fastmcp_server, sdk_server])
async def test_a_policy_that_names_a_tool_which_the_server_lacks_does_not_start(
    tmp_path: Path, issuer: Issuer, resource: str, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    policy = Policy(tools={"add": needs("math:use"), "subtract": needs("math:use")})
    app = protect(server(), policy, resource=resource, issuer=issuer.url, home=tmp_path / "h")
    with pytest.raises(GarrisonError, match="did not start"):
        async with served(app, resource):
            pass
    assert "no schema: subtract." in caplog.text


def test_conditions_come_through_the_front_door() -> None:
    for name in ("PolicyContext", "at_least", "at_most", "between", "one_of"):
        assert getattr(garrison, name) is not None
