"""The three tools and the two resources, called through the client session."""

import json
from typing import Any

from mcp.types import TextResourceContents

from garrison.clients.display import display
from garrison.clients.session import Session, connect
from garrison.demo.scene import Scene, Step, expect


async def _call(scene: Scene, session: Session, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    outcome = await session.call(tool, arguments)
    expect(not outcome.is_error, f"{tool} answered an error: {outcome.content}")
    found: dict[str, Any] = outcome.structured_content or {}
    for line in display(tool, found).splitlines():
        scene.show(line)
    return found


def connected(scene: Scene) -> Any:
    """A session of the first client, by client_credentials over TLS verified by the local CA."""
    client = scene.client
    return connect(
        scene.at.resource,
        client_id=client["client_id"],
        client_secret=client["client_secret"],
        issuer=scene.at.issuer,
        ca_file=scene.home.ca if scene.at.tls else None,
    )


async def three_tools(scene: Scene) -> str:
    async with connected(scene) as session:
        names = [tool.name for tool in await session.tools()]
        customer = await _call(scene, session, "get_customer_info", {"customer_id": "ABC123"})
        ticket = await _call(
            scene,
            session,
            "create_support_ticket",
            {
                "customer_id": "XYZ789",
                "subject": "Login issues",
                "description": "The user can't access their account.",
                "priority": "high",
            },
        )
        value = await _call(
            scene, session, "calculate_account_value", {"customer_id": "DEF456", "amounts": [1000, "2500.00", 500]}
        )
    expect(value["calculation"]["total"] == "4000.00", "1000 + 2500 + 500 is 4000.00")
    expect(value["account_tier"] == "bronze", "4,000 is bronze")
    scene.learnt["ticket_id"] = ticket["ticket_id"]
    return f"{len(names)} tools; {customer['name']}, {ticket['ticket_id']}, {value['calculation']['total']}"


async def unknown_customer(scene: Scene) -> str:
    async with connected(scene) as session:
        outcome = await session.call("get_customer_info", {"customer_id": "NOBODY1"})
    expect(outcome.is_error, "an unknown customer was invented")
    return f"an error: {_text(outcome)}"


async def ticket_survives(scene: Scene) -> str:
    ticket_id = scene.known("ticket_id")
    await scene.restart()
    async with connected(scene) as session:
        outcome = await session.call("get_customer_info", {"customer_id": "XYZ789"})
    tickets = [ticket["ticket_id"] for ticket in (outcome.structured_content or {}).get("open_tickets", [])]
    expect(ticket_id in tickets, f"{ticket_id} is gone after the restart")
    return f"{ticket_id} is read back after both servers were restarted"


async def resources(scene: Scene) -> str:
    async with connected(scene) as session:
        health = await _document(session, "health://status")
        events = await _document(session, "security://events")
    expect(health["status"] == "healthy", f"the server says it is {health['status']}")
    expect(events["total_events"] > 0 and events["recent_events"], "security://events shows no events")
    counts = ", ".join(f"{number} {name}" for name, number in events["summary"].items())
    return f"healthy, version {health['version']}; {events['total_events']} events ({counts})"


async def _document(session: Session, uri: str) -> Any:
    content = (await session.read(uri)).contents[0]
    expect(isinstance(content, TextResourceContents), f"{uri} is not text")
    return json.loads(content.text) if isinstance(content, TextResourceContents) else None


def _text(outcome: Any) -> str:
    return " ".join(block.text for block in outcome.content if block.type == "text")


STEPS: tuple[tuple[str, Step], ...] = (
    ("the three tools answer", three_tools),
    ("an unknown customer is an error", unknown_customer),
    ("tickets survive a restart", ticket_survives),
    ("health://status and security://events", resources),
)
