"""Messages that the bridge hands on as they are, and what has to change in them between the two eras of MCP.

The eras are those of MCP 2025-11-25 and older, with a handshake and a session, and of 2026-07-28, where each request
carries an envelope in its `_meta` and a server asks its questions in the result (`input_required`).
"""

from collections.abc import Mapping
from typing import Any

from mcp import types
from mcp_types import methods
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ConfigDict, TypeAdapter

ENVELOPE = frozenset(
    {types.PROTOCOL_VERSION_META_KEY, types.CLIENT_INFO_META_KEY, types.CLIENT_CAPABILITIES_META_KEY, "progressToken"}
)
"""What each hop puts into `_meta` for itself."""
READS = frozenset({"completion/complete", "prompts/get", "resources/read", "resources/subscribe", "logging/setLevel"})
RAW: Any = TypeAdapter(dict[str, Any])
"""A result as it came, unparsed and uncopied."""
_MODERN_ONLY = ("resultType", "ttlMs", "cacheScope")


class AnyRequest(types.Request[dict[str, Any] | None, str]):
    """A request of whatever method, its parameters as they came."""

    params: dict[str, Any] | None = None


class AnyNotification(types.Notification[dict[str, Any] | None, str]):
    """A notification of whatever method, its parameters as they came."""

    params: dict[str, Any] | None = None


class AnyResult(BaseModel):
    """A result as it came, for where the SDK wants a model."""

    model_config = ConfigDict(extra="allow")


def is_modern(version: str) -> bool:
    return version in MODERN_PROTOCOL_VERSIONS


def may_repeat(method: str) -> bool:
    """Whether a request that may have been carried out can be sent again: it changes nothing."""
    return method in READS or method.endswith("/list") or method == "resources/unsubscribe"


def outgoing(params: Mapping[str, Any] | None, *, modern: bool, log_level: str | None = None) -> dict[str, Any] | None:
    """`params` without the envelope of the hop that they came by.

    Args:
        params: those of a request that came in.
        modern: whether they leave in the era of 2026-07-28, where each request says what log messages it wants.
        log_level: what it says where it doesn't say itself.
    """
    meta = {key: value for key, value in ((params or {}).get("_meta") or {}).items() if key not in ENVELOPE}
    if not modern:
        meta.pop(types.LOG_LEVEL_META_KEY, None)
    elif log_level:
        meta.setdefault(types.LOG_LEVEL_META_KEY, log_level)
    rest = {key: value for key, value in (params or {}).items() if key != "_meta"}
    return {**rest, **({"_meta": meta} if meta else {})} or None


def shaped(method: str, result: dict[str, Any], came: str, goes: str, server: Mapping[str, Any]) -> dict[str, Any]:
    """`result`, which came in MCP version `came`, as version `goes` wants it; the same object where they are the same.

    Args:
        method: of the request.
        result: of the remote server.
        came: the remote server's version.
        goes: the local client's version.
        server: the remote server's name and version, which 2026-07-28 has in each result.

    Raises:
        pydantic.ValidationError: it can't be said in that version.
    """
    if came == goes:
        return result
    if not is_modern(goes):
        known = (method, goes) in methods.SERVER_RESULTS
        if known:
            return methods.serialize_server_result(method, goes, result)
        return {key: value for key, value in result.items() if key not in _MODERN_ONLY}
    defaults: dict[str, Any] = {"resultType": "complete"}
    if method in methods.CACHEABLE_METHODS:
        defaults |= {"ttlMs": 0, "cacheScope": "private"}
    meta = {types.SERVER_INFO_META_KEY: dict(server), **(result.get("_meta") or {})}
    return {**defaults, **result, "_meta": meta}
