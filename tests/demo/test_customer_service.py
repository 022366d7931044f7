"""The customer-service server by itself: its schemas, and that it serves nobody who was not authenticated."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError

from garrison.demo.customer_service import build
from garrison.demo.customers import CustomerDatabase
from garrison.demo.policy import POLICY


@pytest.fixture
def server(tmp_path: Path) -> FastMCP:
    async def events() -> dict[str, Any]:
        return {"total_events": 3}

    return build(CustomerDatabase(tmp_path / "customers.db"), events, clock=lambda: 1_800_000_000.0)


async def test_the_policy_names_exactly_what_the_server_offers(server: FastMCP) -> None:
    assert {tool.name for tool in await server.list_tools()} == set(POLICY.tools)
    assert {str(resource.uri) for resource in await server.list_resources()} == set(POLICY.resources)


async def test_every_parameter_of_every_tool_says_which_field_it_is(server: FastMCP) -> None:
    for tool in await server.list_tools():
        for name, schema in tool.parameters["properties"].items():
            assert "x-garrison-field" in json.dumps(schema), f"{tool.name}.{name}"


async def test_a_customer_is_answered_with_contact_and_tickets(server: FastMCP) -> None:
    async with Client(server) as client:
        found = (await client.call_tool("get_customer_info", {"customer_id": "ABC123"})).data
    assert found["contact_info"] == {"email": "abc123@example.com", "phone": "+1-555-0100"}
    assert found["open_tickets"] == []


async def test_an_unknown_customer_is_an_error_and_not_an_invention(server: FastMCP) -> None:
    async with Client(server) as client:
        with pytest.raises(ToolError, match="there is no customer NOBODY1"):
            await client.call_tool("get_customer_info", {"customer_id": "NOBODY1"})


async def test_a_ticket_needs_an_authenticated_caller(server: FastMCP) -> None:
    arguments = {"customer_id": "ABC123", "subject": "s", "description": "d", "priority": "low"}
    async with Client(server) as client:
        with pytest.raises(ToolError, match="authenticated"):
            await client.call_tool("create_support_ticket", arguments)


async def test_amounts_are_exact_and_bounded(server: FastMCP) -> None:
    async with Client(server) as client:
        arguments: dict[str, Any] = {"customer_id": "DEF456", "amounts": [0.1, 0.2, "10.30"]}
        found = (await client.call_tool("calculate_account_value", arguments)).data
        assert found["calculation"]["total"] == "10.60"
        for amounts in ([], [-1], [1_000_000.01], ["NaN"], ["1e5"], [1] * 101):
            with pytest.raises(ToolError):
                await client.call_tool("calculate_account_value", {"customer_id": "DEF456", "amounts": amounts})


async def test_health_says_what_the_database_says(server: FastMCP, tmp_path: Path) -> None:
    async with Client(server) as client:
        healthy = json.loads((await client.read_resource("health://status"))[0].text)
        (tmp_path / "customers.db").write_bytes(b"this is no database, but long enough to be one" * 100)
        degraded = json.loads((await client.read_resource("health://status"))[0].text)
    assert (healthy["status"], degraded["status"]) == ("healthy", "degraded")


async def test_security_events_are_what_the_store_reports(server: FastMCP) -> None:
    async with Client(server) as client:
        assert json.loads((await client.read_resource("security://events"))[0].text) == {"total_events": 3}
