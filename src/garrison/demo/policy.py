"""Who may do what on the customer-service server, and what its scopes mean in plain words."""

from collections.abc import Mapping

from garrison.guard.policy import Policy, Rule

SCOPES: Mapping[str, str] = {
    "customer:read": "Look customers up, with their contact details and open tickets",
    "ticket:create": "Open support tickets in your name",
    "account:calculate": "Calculate account values",
    "security:read": "Read the security events of the server",
}


def _needs(*scopes: str) -> Rule:
    return Rule(frozenset(scopes))


POLICY = Policy(
    tools={
        "get_customer_info": _needs("customer:read"),
        "create_support_ticket": _needs("ticket:create"),
        "calculate_account_value": _needs("account:calculate"),
    },
    resources={
        "health://status": _needs(),
        "security://events": _needs("security:read"),
    },
)
