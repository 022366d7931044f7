"""The operator's verbs on clients and users: `async with open_store(url) as store: await add_client(store, …)`.

Everything that comes in is checked; what is wrong is a `UsageError`. Secrets are made here, shown once, and kept as
hashes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from garrison.authserver import registration, seal
from garrison.authserver.passwords import hash_password
from garrison.authserver.records import CLIENT_PREFIX, Client, User
from garrison.authserver.settings import PasswordCost
from garrison.authserver.stores import clients, identities, users
from garrison.authserver.stores.store import Store, open_store
from garrison.base.clock import Clock, system_clock
from garrison.base.errors import UsageError
from garrison.base.events import Event, EventSink, Kind, NullSink, emit, new_correlation_id

__all__ = [
    "NewClient",
    "NewUser",
    "add_client",
    "add_user",
    "disable_client",
    "disable_user",
    "list_clients",
    "list_users",
    "open_store",
    "remove_client",
    "remove_user",
    "rotate_client_secret",
    "set_password",
    "set_user_scope",
    "show_client",
    "show_identity",
    "show_user",
]

_NOBODY = NullSink()
_ABLE = {True: "disabled", False: "enabled"}


@dataclass(frozen=True)
class NewClient:
    """A client and its secret, which nobody can be told again; None for a client that needs none."""

    client_id: str
    client_secret: str | None = field(repr=False)
    client: Client


@dataclass(frozen=True)
class NewUser:
    username: str
    password: str = field(repr=False)
    user: User


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
    events: EventSink = _NOBODY,
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
    await _tell(events, clock, Kind.CLIENT_ADDED, client.client_id, client_id=client.client_id)
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
    store: Store, client_id: str, *, events: EventSink = _NOBODY, clock: Clock = system_clock
) -> NewClient:
    """A new secret; the old one is worth nothing from now on."""
    client = await show_client(store, client_id)
    if not client.has_secret:
        raise UsageError(f"{client_id} authenticates by {client.method} and has no secret")
    secret = seal.new_secret()
    await _tell(events, clock, Kind.CLIENT_CHANGED, client_id, client_id=client_id, reason="a new secret")
    await clients.set_client_secret(store, client_id, seal.hashed(secret))
    return NewClient(client_id, secret, client)


async def disable_client(
    store: Store,
    client_id: str,
    *,
    disabled: bool = True,
    events: EventSink = _NOBODY,
    clock: Clock = system_clock,
) -> None:
    """The client gets nothing more, and all that it was granted ends; enabled again, it has to ask again."""
    await show_client(store, client_id)
    await _tell(events, clock, Kind.CLIENT_CHANGED, client_id, client_id=client_id, reason=_ABLE[disabled])
    if not await clients.set_client_disabled(store, client_id, disabled=disabled, now=clock()):
        raise _no_client(client_id)


async def remove_client(
    store: Store, client_id: str, *, events: EventSink = _NOBODY, clock: Clock = system_clock
) -> None:
    await show_client(store, client_id)
    await _tell(events, clock, Kind.CLIENT_REMOVED, client_id, client_id=client_id)
    if not await clients.delete_client(store, client_id):
        raise _no_client(client_id)


async def add_user(
    store: Store,
    username: str,
    *,
    scope: str,
    password: str | None = None,
    cost: PasswordCost | None = None,
    events: EventSink = _NOBODY,
    clock: Clock = system_clock,
) -> NewUser:
    """Add a user who may have `scope`; without a `password` a random one is made.

    Raises:
        UsageError: the name is taken or no name, or the password is too short.
    """
    user = User(registration.username(username), registration.scope(scope), disabled=False, created_at=clock())
    password = registration.password(password)
    password_hash = await hash_password(password, cost or PasswordCost())
    taken = UsageError(f"there is a user {username} already", "Choose another name, or remove that user first.")
    if await users.find_user(store, username):
        raise taken
    await _tell(events, clock, Kind.USER_ADDED, username, subject=username)
    if not await users.save_user(store, user, password_hash):  # two at once
        raise taken
    return NewUser(username, password, user)


async def list_users(store: Store) -> list[User]:
    return await users.all_users(store)


async def show_user(store: Store, username: str) -> User:
    found = await users.find_user(store, username)
    if found is None:
        raise _no_user(username)
    return found[0]


async def show_identity(store: Store, username: str) -> tuple[str, str] | None:
    """Issuer and subject of a user who signs in at the identity provider."""
    return await identities.identity_of(store, username)


async def set_password(
    store: Store,
    username: str,
    password: str | None = None,
    *,
    cost: PasswordCost | None = None,
    events: EventSink = _NOBODY,
    clock: Clock = system_clock,
) -> str:
    """The new password, random if none is given. All sessions and grants of the user end."""
    password = registration.password(password)
    if (await show_user(store, username)).external:
        raise UsageError(f"{username} signs in at the identity provider and has no password here")
    password_hash = await hash_password(password, cost or PasswordCost())
    await _tell(events, clock, Kind.USER_CHANGED, username, subject=username, reason="a new password")
    if not await users.set_password(store, username, password_hash, now=clock()):
        raise _no_user(username)
    return password


async def set_user_scope(store: Store, username: str, scope: str) -> None:
    """What was granted shrinks with it at the next refresh, and never grows."""
    if not await users.set_user_scope(store, username, registration.scope(scope)):
        raise _no_user(username)


async def disable_user(
    store: Store,
    username: str,
    *,
    disabled: bool = True,
    events: EventSink = _NOBODY,
    clock: Clock = system_clock,
) -> None:
    """All sessions and grants of the user end."""
    await show_user(store, username)
    await _tell(events, clock, Kind.USER_CHANGED, username, subject=username, reason=_ABLE[disabled])
    if not await users.set_user_disabled(store, username, disabled=disabled, now=clock()):
        raise _no_user(username)


async def remove_user(store: Store, username: str, *, events: EventSink = _NOBODY, clock: Clock = system_clock) -> None:
    await show_user(store, username)
    await _tell(events, clock, Kind.USER_REMOVED, username, subject=username)
    if not await users.delete_user(store, username):
        raise _no_user(username)


def _no_client(client_id: str) -> UsageError:
    return UsageError(f"there is no client {client_id}", "See `garrison auth client list`.")


def _no_user(username: str) -> UsageError:
    return UsageError(f"there is no user {username}", "See `garrison auth user list`.")


async def _tell(
    events: EventSink,
    clock: Clock,
    kind: Kind,
    target: str,
    *,
    client_id: str = "",
    subject: str = "",
    reason: str = "",
) -> None:
    correlation_id = new_correlation_id()
    await emit(
        events,
        Event(
            kind=kind,
            correlation_id=correlation_id,
            target=target,
            client_id=client_id,
            subject=subject,
            reason=reason,
        ),
        clock,
    )
