"""The operator's verbs on clients."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from garrison.authserver import registration, seal
from garrison.authserver.admin_events import ABLE, NOBODY, tell
from garrison.authserver.records import CLIENT_PREFIX, Client
from garrison.authserver.stores import clients
from garrison.authserver.stores.store import Store
from garrison.base.clock import Clock, system_clock
from garrison.base.errors import UsageError
from garrison.base.events import EventSink, Kind


@dataclass(frozen=True)
class NewClient:
    """A client and its secret, which nobody can be told again; None for a client that needs none."""

    client_id: str
    client_secret: str | None = field(repr=False)
    client: Client


async def add_client(
    store: Store,
    name: str,
    *,
    grants: Iterable[str],
    scope: str,
    redirect_uris: Iterable[str] = (),
    resources: Iterable[str] = (),
    introspects: Iterable[str] = (),
    method: str = "client_secret_basic",
    jwks: Mapping[str, Any] | None = None,
    jwks_uri: str = "",
    public: bool = False,
    events: EventSink = NOBODY,
    clock: Clock = system_clock,
) -> NewClient:
    """Register a client.

    Args:
        store: an open one.
        name: what the consent page calls it.
        grants: of authorization_code, refresh_token, client_credentials.
        scope: all that it may ever get, space-separated.
        redirect_uris: where codes may be sent; required for authorization_code.
        resources: what it may get tokens for; none means every resource that the server knows.
        introspects: the resources that it is the resource server of, whose access tokens it may ask about (RFC 7662).
        method: the one way in which it authenticates.
        jwks: its public keys (RFC 7517), for the method private_key_jwt …
        jwks_uri: … or their https address.
        public: it can't keep a secret, and gets none (method `none`).
        events: where to say so.
        clock: the time.

    Raises:
        UsageError: any of these is not acceptable.
    """
    client = Client(
        client_id=CLIENT_PREFIX + seal.new_id(),
        name=registration.name(name),
        method=registration.method(method, public=public),
        grants=registration.grants(grants),
        scope=registration.scope(scope),
        redirect_uris=tuple(redirect_uris),
        resources=tuple(resources),
        introspects=tuple(introspects),
        jwks=jwks,
        jwks_uri=jwks_uri,
        disabled=False,
        created_at=clock(),
    )
    registration.check_client(client)
    secret = seal.new_secret() if client.has_secret else None
    await tell(events, clock, Kind.CLIENT_ADDED, client.client_id, client_id=client.client_id)
    await clients.save_client(store, client, seal.hashed(secret) if secret else None)
    return NewClient(client.client_id, secret, client)


async def list_clients(store: Store) -> list[Client]:
    return await clients.all_clients(store)


async def show_client(store: Store, client_id: str) -> Client:
    found = await clients.find_client(store, client_id)
    if found is None:
        raise _no_client(client_id)
    return found[0]


async def rotate_client_secret(
    store: Store, client_id: str, *, events: EventSink = NOBODY, clock: Clock = system_clock
) -> NewClient:
    """A new secret; the old one is worth nothing from now on."""
    client = await show_client(store, client_id)
    if not client.has_secret:
        raise UsageError(f"{client_id} authenticates by {client.method} and has no secret")
    secret = seal.new_secret()
    await tell(events, clock, Kind.CLIENT_CHANGED, client_id, client_id=client_id, reason="a new secret")
    await clients.set_client_secret(store, client_id, seal.hashed(secret))
    return NewClient(client_id, secret, client)


async def disable_client(
    store: Store,
    client_id: str,
    *,
    disabled: bool = True,
    events: EventSink = NOBODY,
    clock: Clock = system_clock,
) -> None:
    """The client gets nothing more, and all that it was granted ends; enabled again, it has to ask again."""
    await show_client(store, client_id)
    await tell(events, clock, Kind.CLIENT_CHANGED, client_id, client_id=client_id, reason=ABLE[disabled])
    if not await clients.set_client_disabled(store, client_id, disabled=disabled, now=clock()):
        raise _no_client(client_id)


async def remove_client(
    store: Store, client_id: str, *, events: EventSink = NOBODY, clock: Clock = system_clock
) -> None:
    await show_client(store, client_id)
    await tell(events, clock, Kind.CLIENT_REMOVED, client_id, client_id=client_id)
    if not await clients.delete_client(store, client_id):
        raise _no_client(client_id)


def _no_client(client_id: str) -> UsageError:
    return UsageError(f"there is no client {client_id}", "See `garrison auth client list`.")
