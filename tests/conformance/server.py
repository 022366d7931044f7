"""The server that the official conformance suite asks for, on the MCP SDK.

Without any check of host or origin, so that what the guard adds can be told from what the SDK does.
"""

from typing import Any

from mcp.server import MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import (
    Completion,
    EmptyResult,
    JSONRPCMessage,
    RequestParams,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)
from starlette.types import ASGIApp

from garrison import Policy, needs
from tests.conformance.fixtures import PROMPTS, RESOURCES, TOOLS

PATH = "/mcp"
SCOPE = "conformance:use"
MORE_URIS = (
    "test://template/123/data",
    # Named, so that the server itself can say that there is none (SEP-2164).
    "test://nonexistent-resource-for-conformance-testing",
)
OLD_METHODS: dict[str, type[RequestParams]] = {
    "logging/setLevel": SetLevelRequestParams,
    "resources/subscribe": SubscribeRequestParams,
    "resources/unsubscribe": UnsubscribeRequestParams,
}
"""Handled without effect: the suite asks whether they are answered."""


class Kept(EventStore):
    """Every event of every stream, so that a client that went away can have the rest."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        at = int(last_event_id)
        wanted = self._events[at][0]
        for number, (stream_id, message) in enumerate(self._events[at + 1 :], at + 1):
            if stream_id == wanted and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return wanted


async def suggestions(_ref: Any, _argument: Any, _context: Any) -> Completion:
    return Completion(values=["paris", "park", "party"], total=3, has_more=False)


async def nothing(_context: Any, _params: Any) -> EmptyResult:
    return EmptyResult()


def build() -> MCPServer:
    mcp = MCPServer("conformance", version="1", log_level="CRITICAL")
    for function in TOOLS:
        mcp.add_tool(function, structured_output=False)
    for uri, (mime_type, read) in RESOURCES.items():
        mcp.resource(uri, mime_type=mime_type)(read)
    for function in PROMPTS:
        mcp.prompt()(function)
    mcp.completion()(suggestions)  # type: ignore[no-untyped-call]  # the SDK's own
    for method, params in OLD_METHODS.items():
        mcp._lowlevel_server.add_request_handler(method, params, nothing)
    return mcp


def application(mcp: MCPServer) -> ASGIApp:
    """`mcp` without any protection."""
    unprotected = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return mcp.streamable_http_app(
        streamable_http_path=PATH, transport_security=unprotected, event_store=Kept(), retry_interval=100
    )


def policy() -> Policy:
    """Lets a caller with `SCOPE` use everything that is here."""
    rule = needs(SCOPE)
    return Policy(
        tools=dict.fromkeys([function.__name__ for function in TOOLS], rule),
        resources=dict.fromkeys([*RESOURCES, *MORE_URIS], rule),
        prompts=dict.fromkeys([function.__name__ for function in PROMPTS], rule),
    )
