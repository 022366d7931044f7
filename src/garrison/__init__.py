"""Garrison puts an MCP server on the network safely, and connects any LLM to it safely.

    from garrison import Policy, needs, protect    # a guard around your server
    from garrison import connect                   # a secure session with somebody else's

This is the front door; inside the package nobody comes through it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from garrison.clients.session import Session, connect
    from garrison.guard.conditions import at_least, at_most, between, one_of
    from garrison.guard.guard import Guard
    from garrison.guard.issuers import Introspection, Issuer
    from garrison.guard.policy import Policy, Rule, needs
    from garrison.guard.rule import PolicyContext
    from garrison.limits.settings import LimitSettings
    from garrison.protection import protect

__all__ = [
    "Guard",
    "Introspection",
    "Issuer",
    "LimitSettings",
    "Policy",
    "PolicyContext",
    "Rule",
    "Session",
    "at_least",
    "at_most",
    "between",
    "connect",
    "needs",
    "one_of",
    "protect",
]

_HOMES = {
    "Guard": "garrison.guard.guard",
    "Introspection": "garrison.guard.issuers",
    "Issuer": "garrison.guard.issuers",
    "LimitSettings": "garrison.limits.settings",
    "Policy": "garrison.guard.policy",
    "PolicyContext": "garrison.guard.rule",
    "Rule": "garrison.guard.policy",
    "Session": "garrison.clients.session",
    "at_least": "garrison.guard.conditions",
    "at_most": "garrison.guard.conditions",
    "between": "garrison.guard.conditions",
    "connect": "garrison.clients.session",
    "needs": "garrison.guard.policy",
    "one_of": "garrison.guard.conditions",
    "protect": "garrison.protection",
}


def __getattr__(name: str) -> Any:
    """Imported when it is first asked for: who only wants a client need not load a server."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - so is this

    return getattr(import_module(_HOMES[name]), name)
