"""The rules by which the scripted model decides: which tools a question asks for, and what to say of their results.

A handful of regular expressions about customers, tickets and purchases, and no language model at all.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CLAUSE = re.compile(
    r"[.;?!]\s+|,?\s+then\s+|,?\s+and\s+(?=(?:also\s+)?(?:get|look|create|open|calculate)\b)", re.IGNORECASE
)
_ID = r"[A-Z0-9]{5,10}"
_CUSTOMERS = re.compile(rf"\b(?i:customers?)\s+({_ID}(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+){_ID})*)\b")
_ANY_CUSTOMER = re.compile(r"\bcustomers?\s+(\S{1,64}?)(?=[\s,.?!]|$)", re.IGNORECASE)
_AMOUNT = re.compile(r"(?<![\w.])\$?(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?![\w])")
_PRIORITY = re.compile(r"\b(low|normal|high|urgent)\b", re.IGNORECASE)
_ABOUT = re.compile(r"\babout\s+(.+)", re.IGNORECASE | re.DOTALL)
_MAX_SUBJECT, _MAX_DESCRIPTION = 200, 2000


@dataclass(frozen=True)
class Wish:
    """One tool call that the question asks for."""

    tool: str
    arguments: Mapping[str, Any]


def wishes(question: str, offered: Sequence[str], before: Sequence[str] = ()) -> list[Wish]:
    """The calls of tools among `offered` that `question` asks for, in its order, each once.

    A question that names no customer is about those whom the last one of `before`, the questions so far, named.
    """
    found: list[Wish] = []
    customers = next(filter(None, map(customers_in, reversed(before))), [])
    for start, clause in _clauses(question):
        customers = customers_in(clause) or customers
        for pattern, keyword, arguments in _INTENTS:
            tool = next((name for name in offered if keyword in name), None)
            if tool and pattern.search(clause):
                found += [Wish(tool, arguments(customer, clause, question[start:])) for customer in customers]
                break
    return [wish for index, wish in enumerate(found) if wish not in found[:index]]


def _clauses(question: str) -> Iterable[tuple[int, str]]:
    """Where each clause starts, and its text."""
    start = 0
    for end in _CLAUSE.finditer(question):
        yield start, question[start : end.start()]
        start = end.end()
    yield start, question[start:]


def customers_in(clause: str) -> list[str]:
    """The customer ids of `clause`, or what stands in an id's place: to judge it is not the model's business."""
    named = _CUSTOMERS.search(clause)
    if named:
        return re.findall(_ID, named.group(1))
    other = _ANY_CUSTOMER.search(clause)
    return [other.group(1)] if other else []


def amounts_in(clause: str) -> list[int | float]:
    """The amounts of money behind the customer's id."""
    _, _, behind = clause.partition("purchase") if "purchase" in clause.lower() else ("", "", clause)
    return [_number(whole, part) for whole, part in _AMOUNT.findall(behind)]


def _number(whole: str, part: str) -> int | float:
    digits = whole.replace(",", "")
    return float(digits + part) if part else int(digits)


def _customer_arguments(customer: str, _clause: str, _rest: str) -> dict[str, Any]:
    return {"customer_id": customer}


def _ticket_arguments(customer: str, clause: str, rest: str) -> dict[str, Any]:
    priority = _PRIORITY.search(clause)
    about, told = _ABOUT.search(clause), _ABOUT.search(rest)
    return {
        "customer_id": customer,
        "subject": (about.group(1) if about else clause).strip(" .")[:_MAX_SUBJECT],
        "description": (told.group(1) if told else rest).strip()[:_MAX_DESCRIPTION],
        "priority": priority.group(1).lower() if priority else "normal",
    }


def _value_arguments(customer: str, clause: str, _rest: str) -> dict[str, Any]:
    return {"customer_id": customer, "amounts": amounts_in(clause)}


_INTENTS: Sequence[tuple[re.Pattern[str], str, Callable[[str, str, str], dict[str, Any]]]] = (
    (re.compile(r"\bticket", re.IGNORECASE), "ticket", _ticket_arguments),
    (re.compile(r"\b(account value|calculate|purchases?)\b", re.IGNORECASE), "value", _value_arguments),
    (
        re.compile(r"\b(info|information|details?|look up|who is|status)\b", re.IGNORECASE),
        "customer",
        _customer_arguments,
    ),
)
"""What a clause says, what the name of the tool for it contains, and the tool's arguments; the first that fits."""


def conclusion(results: Sequence[tuple[str, str]]) -> str:
    """One sentence for each tool's name and result text."""
    return " ".join(f"{tool} answered: {_plain(text)}." for tool, text in results)


def no_tool() -> str:
    return "I have no tool for that. Ask me about customers, support tickets or account values."


def _plain(text: str) -> str:
    try:
        data = json.loads(text)
    except ValueError:
        return text.strip().rstrip(".")
    return ", ".join(f"{name} {value}" for name, value in _leaves("", data))


def _leaves(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(str(key).replace("_", " "), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(name, inner)
    else:
        yield name, value
