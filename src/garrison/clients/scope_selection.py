"""MCP authorization, scope selection: which scopes a first token is asked for where the user names none."""

from garrison.clients.discovery import Found
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.challenge import Challenge
from garrison.oauth.errors import InvalidScope

_OFFLINE = "offline_access"  # OpenID Connect Core §11; MCP authorization, refresh tokens


def wanted(challenge: Challenge | None, found: Found) -> frozenset[str]:
    """What the challenge names, or else all that the resource supports."""
    try:
        named = scope_rfc6749.parse(challenge.params.get("scope")) if challenge else frozenset()
    except InvalidScope:
        named = frozenset()
    return named or frozenset(found.resource.scopes_supported)


def with_refresh_token(scopes: frozenset[str], found: Found) -> frozenset[str]:
    """`scopes`, and the one that gets a refresh token where the authorization server knows it (RFC 8414 §2)."""
    known = found.server.document.get("scopes_supported")
    return scopes | {_OFFLINE} if scopes and isinstance(known, list) and _OFFLINE in known else scopes
