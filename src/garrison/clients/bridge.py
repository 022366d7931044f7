"""A stdio MCP server that is a guarded remote one: what Claude Desktop starts, so that it needs no OAuth of its own.

Every request goes through the session, which carries the token; the local program never sees it. What the remote server
offers is offered, under its own name; standard output carries MCP alone, whatever else is said goes to standard error.

On the SDK's low-level server rather than FastMCP's proxy: FastMCP is an extra that a client needn't install.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp import Client, MCPError
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CompleteRequestParams,
    GetPromptRequestParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    RequestParams,
)

from garrison.base.errors import GarrisonError
from garrison.clients.errors import CallRefused
from garrison.clients.session import Session, connect

Forward = Callable[[Client, Any], Awaitable[Any]]

FORWARDS: Mapping[str, Mapping[str, tuple[type[RequestParams], Forward]]] = {
    "tools": {
        "tools/list": (PaginatedRequestParams, lambda remote, asked: remote.list_tools(cursor=asked.cursor)),
        "tools/call": (CallToolRequestParams, lambda remote, asked: remote.call_tool(asked.name, asked.arguments)),
    },
    "resources": {
        "resources/list": (PaginatedRequestParams, lambda remote, asked: remote.list_resources(cursor=asked.cursor)),
        "resources/templates/list": (
            PaginatedRequestParams,
            lambda remote, asked: remote.list_resource_templates(cursor=asked.cursor),
        ),
        "resources/read": (ReadResourceRequestParams, lambda remote, asked: remote.read_resource(asked.uri)),
    },
    "prompts": {
        "prompts/list": (PaginatedRequestParams, lambda remote, asked: remote.list_prompts(cursor=asked.cursor)),
        "prompts/get": (GetPromptRequestParams, lambda remote, asked: remote.get_prompt(asked.name, asked.arguments)),
    },
    "completions": {
        "completion/complete": (
            CompleteRequestParams,
            lambda remote, asked: remote.complete(
                asked.ref,
                asked.argument.model_dump(),
                asked.context.arguments if asked.context else None,
            ),
        ),
    },
}
"""What is forwarded, by the capability that the remote server must announce: the method, its parameters, and how."""


async def bridge(url: str, **options: Any) -> None:
    """Serve the MCP server at `url` on standard input and output, until the input ends.

    Args:
        url: as for `session.connect`.
        options: the others of `session.connect`.

    Raises:
        GarrisonError: the server can't be reached, or no token be had.
    """
    async with connect(url, **options) as session, stdio_server() as (incoming, outgoing):
        server = bridged(session)
        await server.run(incoming, outgoing, server.create_initialization_options())


def bridged(session: Session) -> Server[Any]:
    """A server that forwards what `session`'s server announces."""
    remote = session.client
    info = remote.server_info
    server: Server[Any] = Server(
        info.name if info else "garrison-bridge",
        version=info.version if info else "",
        instructions=remote.instructions,
    )
    for capability, methods in FORWARDS.items():
        if getattr(remote.server_capabilities, capability) is not None:
            for method, (params, forward) in methods.items():
                server.add_request_handler(method, params, _handler(session, forward))
    return server


def _handler(session: Session, forward: Forward) -> Callable[[Any, Any], Awaitable[Any]]:
    async def handle(_: Any, asked: Any) -> Any:
        try:
            return await session.translate(forward(session.client, asked))
        except CallRefused as error:
            raise MCPError(error.code, error.message, error.data) from error
        except GarrisonError as error:
            sys.stderr.write(f"{error.message}\n{error.hint}\n")
            raise MCPError(INTERNAL_ERROR, error.message) from error

    return handle
