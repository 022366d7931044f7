"""What can be guarded: the ASGI application of each kind of MCP server, and how to learn its tools' schemas."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from mcp.shared.inbound import x_mcp_header_map
from starlette.types import ASGIApp

from garrison.base.errors import UsageError
from garrison.content import json_in_text

Schemas = Mapping[str, Mapping[str, Any]]
"""The JSON Schema of each tool's arguments, by the tool's name."""


def opened(server: Any, path: str, schemas: Schemas | None) -> tuple[ASGIApp, Callable[[], Awaitable[Schemas]]]:
    """The ASGI application of `server`, to be served at `path`, and how to learn its tools' schemas once it runs.

    Raises:
        UsageError: it is neither FastMCP's, the MCP SDK's, nor an ASGI application whose `schemas` are given.
    """
    if schemas is not None and not _is_sdk_server(server):
        return _application(server, path), _known(schemas)
    if hasattr(server, "http_app"):  # FastMCP
        return _application(server, path), lambda: fastmcp_schemas(server)
    if hasattr(server, "streamable_http_app"):  # the MCP SDK's MCPServer
        return _application(server, path), lambda: sdk_schemas(server, schemas)
    raise UsageError(
        "the tools' argument schemas are not known",
        "Give schemas={tool: schema}: a call is let through only when its arguments fit.",
    )


def _application(server: Any, path: str) -> ASGIApp:
    app: ASGIApp
    if hasattr(server, "http_app"):
        app = server.http_app(path=path)
    elif hasattr(server, "streamable_http_app"):
        from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415 - for these servers only

        # The guard judges Host and Origin, by the resource's own name; the SDK knows localhost alone.
        app = server.streamable_http_app(
            streamable_http_path=path,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
    elif callable(server):
        app = server
    else:
        raise UsageError("the server is neither FastMCP's, the MCP SDK's, nor an ASGI application")
    return app


def _known(schemas: Schemas) -> Callable[[], Awaitable[Schemas]]:
    async def known() -> Schemas:
        return schemas

    return known


async def fastmcp_schemas(server: Any) -> Schemas:
    """What a FastMCP server declares when it starts; the guard holds calls to it from then on."""
    return {tool.name: tool.parameters for tool in await server.list_tools()}


async def sdk_schemas(server: Any, given: Schemas | None = None) -> Schemas:
    """What an `MCPServer` declares when it starts, or what is `given` instead; without what it would read as JSON."""
    declared = {tool.name: tool.input_schema for tool in await server.list_tools()}
    schemas = declared if given is None else given
    return {tool: json_in_text.refusing(schema, declared.get(tool, schema)) for tool, schema in schemas.items()}


def _is_sdk_server(server: Any) -> bool:
    """An `MCPServer`; the SDK's `Server` below it lists no tools by itself, and reads nothing but JSON as JSON."""
    return hasattr(server, "streamable_http_app") and hasattr(server, "list_tools") and not hasattr(server, "http_app")


@contextlib.asynccontextmanager
async def spared_lists(app: ASGIApp) -> AsyncIterator[None]:
    """While this lasts, a FastMCP server doesn't list all its tools before each tools/call of 2026-07-28.

    The SDK below it looks for the tool's schema in that list, to hold Mcp-Param headers against it, unless it was given
    a function that knows the schemas. FastMCP gives none, and a third of a call goes there. Here it is given the ones
    that have such headers, as the server declares them now: a guard lets no call of a tool pass that came later.
    """
    server = getattr(getattr(app, "state", None), "fastmcp_server", None)
    below = getattr(server, "_mcp_server", None)
    declared = await _declared(server) if getattr(below, "get_tool_input_schema", app) is None else None
    if below is None or declared is None:
        yield
        return
    below.get_tool_input_schema = {tool: schema for tool, schema in declared.items() if x_mcp_header_map(schema)}.get
    try:
        yield
    finally:
        below.get_tool_input_schema = None


async def _declared(server: Any) -> Schemas | None:
    """None for one that can't say it now, as a proxy of a server that is away; it goes on as FastMCP made it."""
    try:
        return await fastmcp_schemas(server)
    except Exception:  # noqa: BLE001 - whatever it is, the server's own schemas are only there to save time
        return None
