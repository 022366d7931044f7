"""A tool's result for a person's eyes: the demo's three tools in plain labelled lines, any other as JSON.

A result is somebody else's text: control characters are taken out, so that it can't move the cursor, set a title or
forge a line, and each value stays on its line.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from garrison.base.events import one_line

_CENT = Decimal("0.01")
MAX_JSON = 20_000
"""Characters of an unknown tool's result that are shown."""

Lines = Iterable[tuple[str, Any]]


def display(tool: str, result: Any) -> str:
    """`result`, structured content or text (JSON or not), of `tool` as lines of text."""
    lines = labelled(tool, result)
    return _json(_loaded(result)) if lines is None else "\n".join(f"{label}: {value}" for label, value in lines)


def labelled(tool: str, result: Any) -> list[tuple[str, str]] | None:
    """`result` as labels and values; None if `tool` is none of the demo's, or one of that name with another answer."""
    if tool not in _LINES:
        return None
    try:
        return [(label, _clean(str(value))) for label, value in _LINES[tool](_loaded(result))]
    except (KeyError, TypeError, AttributeError, InvalidOperation):
        return None


def plain(text: str) -> str:
    """`text` at its full length and on its lines, without what could steer a terminal."""
    return "\n".join(_clean(line) for line in text.split("\n"))


def _loaded(result: Any) -> Any:
    if not isinstance(result, str):
        return result
    try:
        return json.loads(result, parse_float=Decimal)
    except (ValueError, RecursionError):
        return result


def _json(data: Any) -> str:
    text = data if isinstance(data, str) else json.dumps(data, indent=2, default=str)
    text = text if len(text) <= MAX_JSON else f"{text[:MAX_JSON]}\n[cut: {len(text)} characters]"
    return plain(text)


def _clean(line: str) -> str:
    """`line` at its full length, without what `one_line` takes out."""
    return "".join(one_line(line[at : at + 500]) for at in range(0, len(line), 500))


def money(value: Any) -> str:
    """`value`, a number or the text of one, as $1,234.50. Raises `InvalidOperation`."""
    amount = Decimal(str(value))
    if not amount.is_finite():
        raise InvalidOperation
    return f"${amount.quantize(_CENT):,}"


def _customer(data: Mapping[str, Any]) -> Lines:
    yield "Customer ID", data["customer_id"]
    yield "Name", data["name"]
    yield "Status", data["status"]
    yield "Account Type", data["account_type"]
    yield "Email", data["contact_info"]["email"]
    yield "Phone", data["contact_info"]["phone"]


def _ticket(data: Mapping[str, Any]) -> Lines:
    yield "Ticket ID", data["ticket_id"]
    yield "Customer ID", data["customer_id"]
    yield "Subject", data["subject"]
    yield "Description", data["description"]
    yield "Priority", data["priority"]
    yield "Resolution Time", data["estimated_resolution"]


def _account_value(data: Mapping[str, Any]) -> Lines:
    calculation = data["calculation"]
    yield "Customer ID", data["customer_id"]
    yield "Total Value", money(calculation["total"])
    yield "Average Purchase", money(calculation["average"])
    yield "Number of Purchases", calculation["count"]
    yield "Highest Purchase", money(calculation["max_purchase"])
    yield "Lowest Purchase", money(calculation["min_purchase"])
    yield "Account Tier", data["account_tier"].upper()


_LINES: Mapping[str, Callable[[Any], Lines]] = {
    "get_customer_info": _customer,
    "create_support_ticket": _ticket,
    "calculate_account_value": _account_value,
}
