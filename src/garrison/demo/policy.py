"""Who may do what on the customer-service server, and what its scopes mean in plain words."""

from collections.abc import Mapping

from garrison.guard.policy import Policy, needs

SCOPES: Mapping[str, str] = {
    "customer:read": "Look customers up, with their contact details and open tickets",
    "ticket:create": "Open support tickets in your name",
    "account:calculate": "Calculate account values",
    "security:read": "Read the security events of the server",
}


POLICY = Policy(
    tools={
        "get_customer_info": needs("customer:read"),
        "create_support_ticket": needs("ticket:create"),
        "calculate_account_value": needs("account:calculate"),
    },
    resources={
        "health://status": needs(),
        "security://events": needs("security:read"),
    },
)
