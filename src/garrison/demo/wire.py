"""MCP requests on the bare wire, revision 2026-07-28: one POST a message, to show what a refusal looks like."""

import itertools
import json
from typing import Any

import httpx2

from garrison.base.errors import GarrisonError

REVISION = "2026-07-28"
_ids = itertools.count(1)


async def call_tool(
    http: httpx2.AsyncClient, url: str, token: str | None, tool: str, arguments: dict[str, Any]
) -> httpx2.Response:
    """POST a tools/call; without `token`, as a stranger."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "garrison-demo", "version": "1"},
    }
    message = {
        "jsonrpc": "2.0",
        "id": next(_ids),
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": meta},
    }
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": REVISION,
        "mcp-method": "tools/call",
        "mcp-name": tool,
    }
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return await http.post(url, content=json.dumps(message), headers=headers)


def result(response: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC message of an answer, which may have come as JSON or as a server-sent event."""
    text = response.text
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        text = "".join(line[5:] for line in text.splitlines() if line.startswith("data:"))
    try:
        message = json.loads(text)
    except ValueError as error:
        raise GarrisonError(f"the MCP server answered {response.status_code} without JSON") from error
    if not isinstance(message, dict):
        raise GarrisonError("the MCP server's answer is not a JSON-RPC message")
    return message
