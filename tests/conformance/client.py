"""The client under the official conformance suite: it adapts the suite's environment to `garrison.connect`, no more.

The suite starts it with the server's URL as the last argument, and says by environment variables which scenario it
plays and what the client may know.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx2
from mcp.types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from garrison import connect
from garrison.base.errors import GarrisonError
from garrison.base.fetch import Fetcher
from garrison.clients.login import Login
from garrison.clients.obtain import discover_local_issuer
from garrison.clients.session import Session

CIMD = "https://conformance-test.local/client-metadata.json"
"""The address that the suite's authorization server expects of a client with a metadata document."""

EXAMPLES = {"number": 5, "integer": 5, "boolean": True, "array": [], "object": {}}


async def follow(url: str) -> None:
    """The browser: the suite's /authorize answers at once with a redirect to our listener."""
    async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as http:
        await http.get(url)


async def issuer_of(url: str) -> str:
    """The suite names no issuer, which we want with a secret: its servers are on this machine, and so may say it."""
    async with Fetcher(timeout=60, private_addresses=True) as fetcher:
        return await discover_local_issuer(url, fetcher)


async def options(url: str, scenario: str, context: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What `connect` is told."""
    if "client-credentials" in scenario:
        known = {"client_id": context["client_id"], "issuer": await issuer_of(url)}
        if "private_key_pem" in context:
            key = folder / "key.pem"
            key.touch(mode=0o600)
            key.write_text(context["private_key_pem"])
            return {**known, "private_key_file": key}
        return {**known, "client_secret": context["client_secret"]}
    login: dict[str, Any] = {"login": Login(open_url=follow, timeout=30)}
    if "2025-03-26" in scenario:
        return {**login, "legacy_authorization": True}
    if "client_id" in context:
        known = {"client_id": context["client_id"], "client_secret": context.get("client_secret")}
        return {**login, **known, "issuer": await issuer_of(url)}
    if "cimd" in scenario:
        return {**login, "client_metadata_url": CIMD}
    return login


def arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """Something of each required property's type."""
    properties = schema.get("properties", {})
    return {name: EXAMPLES.get(properties.get(name, {}).get("type"), "x") for name in schema.get("required", [])}


async def play(session: Session, context: dict[str, Any]) -> None:
    """List the tools and call them, as every scenario wants."""
    tools = await session.tools()
    EXAMPLES["object"] = tools[0].input_schema if tools else {}  # one scenario wants a schema back as it was seen
    wanted = context.get("toolCalls") or [{"name": t.name, "arguments": arguments(t.input_schema)} for t in tools]
    for call in wanted:
        await session.call(call["name"], call.get("arguments", {}))


async def consent(context: Any, params: ElicitRequestParams) -> ElicitResult:
    """A person who accepts each form with the defaults that it proposes."""
    schema = params.requested_schema if isinstance(params, ElicitRequestFormParams) else {}
    properties = schema.get("properties", {})
    content = {name: about["default"] for name, about in properties.items() if "default" in about}
    return ElicitResult(action="accept", content={**arguments(schema), **content})


async def main(url: str) -> None:
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    revision = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "")
    mode = "2026-07-28" if revision == "2026-07-28" else "legacy" if revision else "auto"
    with tempfile.TemporaryDirectory() as folder:
        known = await options(url, scenario, context, Path(folder))
        async with connect(url, mode=mode, elicitation=consent, **known) as session:
            await play(session, context)


def run(url: str) -> None:
    try:
        asyncio.run(main(url))
    except GarrisonError as error:
        sys.exit(f"{error.message}\n{error.hint}")


if __name__ == "__main__":
    run(sys.argv[-1])
