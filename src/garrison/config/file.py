"""garrison.toml: which tables and keys there are. One that is not understood is an error, never ignored."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from garrison.base.errors import UsageError, did_you_mean

FILE = "garrison.toml"
_KEYS: Mapping[str, Mapping[str, type]] = {
    "limits": {
        "requests_per_minute": int,
        "tokens_per_hour": int,
        "client_requests_per_minute": int,
        "stranger_requests_per_minute": int,
        "concurrent_calls": int,
        "open_streams": int,
        "tools": dict,
        "token_counter": str,
        "redis_url": str,
        "on_store_failure": str,
    },
    "network": {"trusted_proxies": list, "max_connections": int, "body_seconds": int},
    "auth": {
        "access_token_lifetime": int,
        "database_url": str,
        "client_documents": bool,
        "client_document_hosts": list,
        "registration": bool,
        "registrations_per_address": int,
        "unproven_scope": str,
        "identity_provider": dict,
    },
    "events": {"durability": str},
}
"""Every table and key that garrison.toml may hold, and the type of its value; [policy] beside them has many."""
POLICY = "policy"


def read_file(path: Path) -> dict[str, dict[str, Any]]:
    """garrison.toml, every table and key of it known. Raises `UsageError`."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    for table, keys in content.items():
        if table == POLICY:
            continue
        known = _KEYS.get(table)
        if known is None or not isinstance(keys, dict):
            raise UsageError(f"{path} has an unknown table [{table}]", did_you_mean(table, (*_KEYS, POLICY)))
        for key, value in keys.items():
            if key not in known:
                raise UsageError(f"{path} has an unknown key {table}.{key}", did_you_mean(key, known))
            if type(value) is not known[key]:
                raise UsageError(f"{path}: {table}.{key} must be of type {known[key].__name__}")
    return content
