"""The table `[auth.identity_provider]` of garrison.toml as settings; what it does not know is an error."""

from collections.abc import Mapping
from typing import Any

from garrison.authserver.federation.settings import Allow, IdentityProvider
from garrison.base.errors import UsageError, did_you_mean

_WHERE = "auth.identity_provider"
_KEYS: Mapping[str, type] = {
    "issuer": str,
    "client_id": str,
    "client_secret_file": str,
    "name": str,
    "scopes": str,
    "username_claim": str,
    "local_users": bool,
    "private_addresses": bool,
    "account_prompt": str,
    "grant_lifetime": int,
    "allow": list,
}
_RULE_KEYS: Mapping[str, type] = {"scope": str, "everyone": bool, "claims": dict, "email_domains": list}


def from_table(table: Mapping[str, Any], client_secret: str | None) -> IdentityProvider:
    """Raises `UsageError` for what is not understood."""
    _check_keys(table, _KEYS, _WHERE)
    for required in ("issuer", "client_id"):
        if not table.get(required):
            raise UsageError(f"{_WHERE}.{required} is missing")
    named = {key: value for key, value in table.items() if key not in {"allow", "scopes", "client_secret_file"}}
    if "scopes" in table:
        named["scopes"] = frozenset(table["scopes"].split())
    return IdentityProvider(client_secret=client_secret, allow=tuple(map(_rule, table.get("allow", []))), **named)


def _rule(table: Any) -> Allow:
    where = f"{_WHERE}.allow"
    if not isinstance(table, dict):
        raise UsageError(f"[[{where}]] must be tables")
    _check_keys(table, _RULE_KEYS, where)
    return Allow(
        scope=frozenset(table.get("scope", "").split()),
        everyone=table.get("everyone", False),
        claims={name: _values(f"{where}.claims.{name}", values) for name, values in table.get("claims", {}).items()},
        email_domains=_values(f"{where}.email_domains", table.get("email_domains", []), str),
    )


def _values(where: str, values: Any, *types: type) -> tuple[Any, ...]:
    if not isinstance(values, list) or not all(type(value) in (types or (str, int, bool)) for value in values):
        raise UsageError(f"{where} must be a list of {'texts' if types else 'texts, whole numbers or booleans'}")
    return tuple(values)


def _check_keys(table: Mapping[str, Any], known: Mapping[str, type], where: str) -> None:
    for key, value in table.items():
        if key not in known:
            raise UsageError(f"{where} has an unknown key {key}", did_you_mean(key, known))
        if type(value) is not known[key]:
            raise UsageError(f"{where}.{key} must be of type {known[key].__name__}")
