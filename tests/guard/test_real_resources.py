"""Resources by template on real servers, in every mode of the SDK's client: policy and app mean the same URIs."""

from typing import Any

import pytest
from fastmcp import FastMCP
from mcp import MCPError
from mcp.server import MCPServer
from mcp_types import Completion, PromptReference, ResourceTemplateReference
from starlette.types import ASGIApp

from garrison.content.schema import ToolSchemas
from garrison.guard.policy import Policy, needs
from tests.guard.test_both_eras import MODES, connected, guarded
from tests.guard.world import World

PROFILE, FILE = "users://{id}/profile", "files:///{path*}"
SDK_FILE = "files:///{+path}"


def fastmcp_app() -> ASGIApp:
    server = FastMCP("resources")
    server.resource(PROFILE)(profile)
    server.resource(FILE)(file)
    server.resource("users://{id}/keys")(profile)
    server.resource("users://admin/profile")(admin)
    return server.http_app(path="/mcp")


def sdk_app() -> ASGIApp:
    server = MCPServer("resources", log_level="ERROR")
    server.resource(PROFILE)(profile)
    server.resource(SDK_FILE)(file)
    server.resource("users://{id}/keys")(profile)
    server.resource("users://admin/profile")(admin)

    @server.prompt()
    def greet(name: str) -> str:
        return name

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # the SDK's is untyped
    async def complete(*_: Any) -> Completion:
        return Completion(values=["seven"])

    return server.streamable_http_app()


def profile(id: str) -> str:  # noqa: A002 - the template's variable
    return f"profile of {id}"


def file(path: str) -> str:
    return f"file {path}"


def admin() -> str:
    return "profile of the administrator"


POLICY = Policy(
    resources={
        PROFILE: needs("users:read"),
        "users://admin/profile": needs("admin"),
        FILE: needs("files:read"),
        SDK_FILE: needs("files:read"),
    },
    prompts={"greet": needs("users:read")},
    completions={"greet": needs("users:list")},
    hierarchy={"admin": {"users:read"}},
)


@MODES
@pytest.mark.parametrize("app", [fastmcp_app, sdk_app])
async def test_a_template_is_read_and_listed_by_whom_the_policy_lets(world: World, mode: str, app: Any) -> None:
    async with guarded(world, app(), policy=POLICY, schemas=ToolSchemas({})) as url:
        async with connected(world, url, mode, "users:read") as client:
            assert "profile of 7" in str(await client.read_resource("users://7/profile"))
            listed = (await client.list_resource_templates()).resource_templates
            assert [template.uri_template for template in listed] == [PROFILE]
            assert (await client.list_resources()).resources == []
            for uri in (
                "users://admin/profile",
                "users://Admin/profile",
                "users://%61dmin/profile",
                "users://admin/profile?x=1",
                "users://admin/profile#x",
                "users://a%2Fb/profile",
                "users://7/keys",
                "files:///a/b",
            ):
                with pytest.raises(MCPError):
                    await client.read_resource(uri)
        async with connected(world, url, mode, "admin files:read") as client:
            assert "administrator" in str(await client.read_resource("users://admin/profile"))
            assert "profile of 7" in str(await client.read_resource("users://7/profile"))
            assert "file a/b.txt" in str(await client.read_resource("files:///a/b.txt"))
            with pytest.raises(MCPError):
                await client.read_resource("files:///a/../b.txt")
            assert [str(found.uri) for found in (await client.list_resources()).resources] == ["users://admin/profile"]
            assert len((await client.list_resource_templates()).resource_templates) == 2


@MODES
async def test_completion_needs_what_the_prompt_or_template_needs_and_more_where_that_is_said(
    world: World, mode: str
) -> None:
    template, prompt = ResourceTemplateReference(uri=PROFILE), PromptReference(name="greet")
    async with guarded(world, sdk_app(), policy=POLICY, schemas=ToolSchemas({})) as url:
        async with connected(world, url, mode, "users:read") as client:
            found = await client.complete(template, {"name": "id", "value": "s"})
            assert found.completion.values == ["seven"]
            with pytest.raises(MCPError) as caught:
                await client.complete(prompt, {"name": "name", "value": "s"})
            assert caught.value.error.data["scope"] == "users:list users:read"
            with pytest.raises(MCPError):
                await client.complete(ResourceTemplateReference(uri="users://{id}/keys"), {"name": "id", "value": "s"})
        async with connected(world, url, mode, "users:read users:list") as client:
            assert (await client.complete(prompt, {"name": "name", "value": "s"})).completion.values == ["seven"]
