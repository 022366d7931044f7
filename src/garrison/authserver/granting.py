"""How much may be granted: scope ⊆ client ∩ user ∩ resource (RFC 6749 §3.3), for one resource (RFC 8707 §2)."""

from garrison.authserver.records import Client, User
from garrison.authserver.settings import AuthServerSettings
from garrison.oauth import resource as resource_rfc8707
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.errors import InvalidClientMetadata, InvalidScope, InvalidTarget

OFFLINE_ACCESS = "offline_access"
"""OpenID Connect's word for a refresh token. Which clients get one is registered, so asking adds and takes nothing."""


def resource_for(settings: AuthServerSettings, client: Client, requested: str | None) -> str:
    """The resource that a token will be for, as it is registered.

    Raises:
        InvalidTarget: it isn't one that this client may have tokens for, or none was named and there are several.
    """
    allowed = [_registered(settings, uri) for uri in client.resources] or [*settings.resources]
    if requested is None:
        if len(allowed) != 1:
            raise InvalidTarget("resource is required: there are several")
        return allowed[0]
    for uri in allowed:
        if resource_rfc8707.same(uri, requested):
            return uri
    raise InvalidTarget("resource is not one that this client can have tokens for")


def check_granted_resource(settings: AuthServerSettings, client: Client, granted: str, requested: str | None) -> None:
    """What was granted still stands, and nothing else is asked for: a code or refresh token serves one resource.

    Raises:
        InvalidTarget: `requested` is another one, or the client can have no tokens for it any more.
    """
    if requested is not None and not resource_rfc8707.same(granted, requested):
        raise InvalidTarget("resource is not the one that was granted")
    resource_for(settings, client, granted)


def ceiling(settings: AuthServerSettings, client: Client, resource: str, user: User | None = None) -> frozenset[str]:
    """All that `client` can get at `resource`, of `user` if there is one. A foreign resource's scopes aren't known.

    What clients that nobody vouches for may get is bounded by today's setting, not only by that of when they came.
    """
    scopes = client.scope & settings.resources.get(resource, client.scope)
    if client.source != "operator" and settings.unproven_scope is not None:
        scopes &= settings.unproven_scope
    if user is None:
        return scopes
    return scopes & user.scope if settings.takes_users(external=user.external) else frozenset()


def open_scope(settings: AuthServerSettings, wanted: frozenset[str] | None) -> frozenset[str]:
    """What a client that nobody vouches for can ever get, of what it wants (None: all).

    Raises:
        InvalidClientMetadata: that is nothing.
    """
    known: frozenset[str] = frozenset().union(*settings.resources.values())
    possible = known if settings.unproven_scope is None else known & settings.unproven_scope
    scopes = possible if wanted is None else possible & wanted
    if not scopes:
        raise InvalidClientMetadata("nothing of this scope can be granted to such a client")
    return scopes


def asked_for(scope: str | None) -> frozenset[str]:
    """The scopes asked for; empty means: whatever may be had. Raises `InvalidScope`."""
    return scope_rfc6749.parse(scope) - {OFFLINE_ACCESS}


def narrowed(granted: frozenset[str], scope: str | None) -> frozenset[str]:
    """`granted`, or the part of it that is asked for.

    Raises:
        InvalidScope: more is asked for than was granted, or nothing is left.
    """
    asked = asked_for(scope) or granted
    if not asked <= granted:
        raise InvalidScope("more scope than was granted")
    if not asked:
        raise InvalidScope("nothing that could be granted is left")
    return asked


def _registered(settings: AuthServerSettings, uri: str) -> str:
    return next((known for known in settings.resources if resource_rfc8707.same(known, uri)), uri)
