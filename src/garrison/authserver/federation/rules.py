"""Who of the provider's users may sign in here, with which scope, and what they are called: nobody, unless said so."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from garrison.authserver.federation.settings import Allow, IdentityProvider, Value

PREFIX = "idp:"
"""Every name of the provider's users begins with it: no local username and no client_id can (RFC 9068 §5)."""
_USABLE = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,59}")


def scope_of(provider: IdentityProvider, claims: Mapping[str, Any]) -> frozenset[str]:
    """All that the rules which `claims` meet give; empty for whoever may not sign in."""
    return frozenset().union(*(rule.scope for rule in provider.allow if _meets(rule, claims)))


def username_of(provider: IdentityProvider, subject: str, claims: Mapping[str, Any]) -> str | None:
    """What a new user is called here; None if the claim that says so is missing, unverified or no name."""
    if not provider.username_claim:
        return PREFIX + hashlib.sha256(json.dumps([provider.issuer, subject]).encode()).hexdigest()[:32]
    value = _believed(claims, provider.username_claim)
    name = value.lower() if isinstance(value, str) else ""
    return PREFIX + name if _USABLE.fullmatch(name) else None


def needed_claims(provider: IdentityProvider) -> frozenset[str]:
    """The claims that decide something."""
    names = {name for rule in provider.allow for name in rule.claims}
    if provider.username_claim:
        names.add(provider.username_claim)
    if any(rule.email_domains for rule in provider.allow):
        names.add("email")
    return frozenset(names | ({"email_verified"} if "email" in names else set()))


def _meets(rule: Allow, claims: Mapping[str, Any]) -> bool:
    return (
        (rule.everyone or bool(rule.claims or rule.email_domains))
        and all(_holds(_believed(claims, name), values) for name, values in rule.claims.items())
        and (not rule.email_domains or _domain(claims) in rule.email_domains)
    )


def _holds(claim: Any, values: Sequence[Value]) -> bool:
    """Python's True is 1, and JSON's is not."""
    found = claim if isinstance(claim, list) else [claim]
    return any(type(one) is type(value) and one == value for one in found for value in values)


def _believed(claims: Mapping[str, Any], name: str) -> Any:
    """An e-mail address that the provider has not verified is what somebody typed (OpenID Connect Core §5.7)."""
    if name == "email" and claims.get("email_verified") is not True:
        return None
    return claims.get(name)


def _domain(claims: Mapping[str, Any]) -> str | None:
    email = _believed(claims, "email")
    return email.rpartition("@")[2].lower() if isinstance(email, str) and email.count("@") == 1 else None
