"""The three questions of the demonstration, and the tool that each must lead to."""

from collections.abc import Mapping

QUESTIONS: Mapping[str, str] = {
    "Get information about customer ABC123": "get_customer_info",
    "Create a high priority support ticket for customer XYZ789 about login issues": "create_support_ticket",
    "Calculate the account value for customer DEF456 with purchases of $1000, $2500, and $500": (
        "calculate_account_value"
    ),
}
