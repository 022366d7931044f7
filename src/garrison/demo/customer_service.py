"""The customer-service MCP server of the demonstration: three tools and two resources on FastMCP.

Authentication, scopes, limits and argument checks are the guard's (demo/system.py); the tools only ask who calls, by
the SDK's own `get_access_token()`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from mcp.server.auth.middleware.auth_context import get_access_token

from garrison.base.clock import Clock, system_clock
from garrison.content.fields import CustomerId, Priority
from garrison.content.requests import Amounts, Description, Subject
from garrison.demo.account_value import calculation, tier
from garrison.demo.customers import CustomerDatabase, Ticket, UnknownCustomerError

RESOLUTION_TIMES: Mapping[str, str] = {
    "urgent": "24 hours",
    "high": "48 hours",
    "normal": "3-5 business days",
    "low": "5-7 business days",
}
FEATURES = ("oauth_auth", "input_validation", "security_logging", "rate_limiting")


def build(
    customers: CustomerDatabase,
    security_events: Callable[[], Awaitable[dict[str, Any]]],
    clock: Clock = system_clock,
) -> FastMCP:
    """The server.

    Args:
        customers: the database behind the tools.
        security_events: answers what `security://events` shows.
        clock: seconds since the epoch.
    """
    server: FastMCP = FastMCP(
        name="secure-customer-service",
        instructions="Customer service: look customers up, open support tickets, calculate account values.",
        mask_error_details=True,
    )

    def now() -> str:
        return datetime.fromtimestamp(clock(), UTC).isoformat(timespec="seconds")

    @server.tool(annotations={"readOnlyHint": True, "openWorldHint": False})
    async def get_customer_info(customer_id: CustomerId) -> dict[str, Any]:
        """Look a customer up: name, status, account type, contact and open tickets."""
        customer = await _found(customers.customer, customer_id)
        tickets: list[Ticket] = await anyio.to_thread.run_sync(customers.open_tickets, customer_id)
        return {
            "customer_id": customer.customer_id,
            "name": customer.name,
            "status": customer.status,
            "account_type": customer.account_type,
            "last_activity": customer.last_activity,
            "contact_info": {"email": customer.email, "phone": customer.phone},
            "open_tickets": [_summary(ticket) for ticket in tickets],
        }

    @server.tool(annotations={"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False})
    async def create_support_ticket(
        customer_id: CustomerId, subject: Subject, description: Description, priority: Priority
    ) -> dict[str, Any]:
        """Open a support ticket for a customer."""
        ticket = await _found(customers.open_ticket, customer_id, subject, description, priority, _caller())
        return {**asdict(ticket), "estimated_resolution": RESOLUTION_TIMES[ticket.priority]}

    @server.tool(annotations={"readOnlyHint": True, "openWorldHint": False})
    async def calculate_account_value(customer_id: CustomerId, amounts: Amounts) -> dict[str, Any]:
        """Add up a customer's purchases; they earn gold from 50,000 on, silver from 10,000 on, else bronze."""
        await _found(customers.customer, customer_id)
        return {
            "customer_id": customer_id,
            "calculation": calculation(amounts),
            "account_tier": tier(amounts),
            "calculated_at": now(),
        }

    @server.resource("health://status", mime_type="application/json")
    async def health_status() -> dict[str, Any]:
        """Whether the server is well, its version and features."""
        return {
            "status": "healthy" if await anyio.to_thread.run_sync(customers.answers) else "degraded",
            "timestamp": now(),
            "version": version("garrison"),
            "features": list(FEATURES),
        }

    @server.resource("security://events", mime_type="application/json")
    async def security_events_report() -> dict[str, Any]:
        """The latest security events and how many there were of each severity."""
        return await security_events()

    return server


def _caller() -> str:
    """The subject of the caller's token, as the guard verified it; a tool that nobody guards serves nobody."""
    token = get_access_token()
    if token is None or not token.subject:
        raise ToolError("this tool needs an authenticated caller")
    return token.subject


async def _found(query: Callable[..., Any], *arguments: Any) -> Any:
    """What `query` answers, off the event loop; an unknown customer is an error that the caller may read."""
    try:
        return await anyio.to_thread.run_sync(query, *arguments)
    except UnknownCustomerError as error:
        raise ToolError(error.message, log_level=logging.DEBUG) from error  # the caller's error, and none of ours


def _summary(ticket: Ticket) -> dict[str, str]:
    return {
        "ticket_id": ticket.ticket_id,
        "subject": ticket.subject,
        "priority": ticket.priority,
        "status": ticket.status,
        "created": ticket.created,
    }
