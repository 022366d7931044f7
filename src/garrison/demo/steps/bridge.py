"""A client that speaks to programs of its own machine alone, as Claude Desktop does, calls through the bridge."""

import subprocess
import sys
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from garrison.clients.display import display
from garrison.demo.scene import Scene, Step, expect

_UNSEEN: Any = subprocess.DEVNULL
"""For what the bridge says on standard error, which is in its log, too."""


def bridged(scene: Scene) -> Client:
    """The SDK's client, at the other end of `garrison bridge` as a process of its own."""
    folder = str(scene.home.folder)
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "garrison.cli.main", "bridge", scene.at.resource, "--home", folder],
        env={"GARRISON_KEYRING": "off", "GARRISON_LOGINS": folder},  # a person's own are none of the demo's business
    )
    # The older era is what most such programs speak; the newer one's first question waits ten seconds and no more.
    return Client(stdio_client(server, _UNSEEN), mode="legacy")


async def bridge(scene: Scene) -> str:
    async with bridged(scene) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("get_customer_info", {"customer_id": "ABC123"})
    expect(not result.is_error, f"the tool answered an error: {result.content}")
    for line in display("get_customer_info", result.structured_content).splitlines():
        scene.show(line)
    logs = list((scene.home.folder / "bridge").glob("*.log"))
    expect(len(logs) == 1, "the bridge keeps no log")
    expect("Bearer" not in logs[0].read_text(encoding="utf-8"), "a token is in the bridge's log")
    return f"{len(names)} tools on its standard output, called without a token of its own"


STEPS: tuple[tuple[str, Step], ...] = (("a local client calls through the bridge", bridge),)
