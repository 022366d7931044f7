"""The operator's verbs on users."""

from dataclasses import dataclass, field

from garrison.authserver import registration
from garrison.authserver.admin_events import ABLE, NOBODY, tell
from garrison.authserver.passwords import hash_password
from garrison.authserver.records import User
from garrison.authserver.settings import PasswordCost
from garrison.authserver.stores import identities, users
from garrison.authserver.stores.store import Store
from garrison.base.clock import Clock, system_clock
from garrison.base.errors import UsageError
from garrison.base.events import EventSink, Kind


@dataclass(frozen=True)
class NewUser:
    username: str
    password: str = field(repr=False)
    user: User


async def add_user(
    store: Store,
    username: str,
    *,
    scope: str,
    password: str | None = None,
    cost: PasswordCost | None = None,
    events: EventSink = NOBODY,
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
    await tell(events, clock, Kind.USER_ADDED, username, subject=username)
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
    events: EventSink = NOBODY,
    clock: Clock = system_clock,
) -> str:
    """The new password, random if none is given. All sessions and grants of the user end."""
    password = registration.password(password)
    if (await show_user(store, username)).external:
        raise UsageError(f"{username} signs in at the identity provider and has no password here")
    password_hash = await hash_password(password, cost or PasswordCost())
    await tell(events, clock, Kind.USER_CHANGED, username, subject=username, reason="a new password")
    if not await users.set_password(store, username, password_hash, now=clock()):
        raise _no_user(username)
    return password


async def set_user_scope(
    store: Store, username: str, scope: str, *, events: EventSink = NOBODY, clock: Clock = system_clock
) -> None:
    """What was granted shrinks with it at the next refresh, and never grows."""
    wanted = registration.scope(scope)
    if (await show_user(store, username)).external:
        raise UsageError(
            f"{username} signs in at the identity provider, whose claims decide about their scope",
            "Change auth.identity_provider.allow, or the claims.",
        )
    await tell(events, clock, Kind.USER_CHANGED, username, subject=username, reason="another scope")
    if not await users.set_user_scope(store, username, wanted):
        raise _no_user(username)


async def disable_user(
    store: Store,
    username: str,
    *,
    disabled: bool = True,
    events: EventSink = NOBODY,
    clock: Clock = system_clock,
) -> None:
    """All sessions and grants of the user end."""
    await show_user(store, username)
    await tell(events, clock, Kind.USER_CHANGED, username, subject=username, reason=ABLE[disabled])
    if not await users.set_user_disabled(store, username, disabled=disabled, now=clock()):
        raise _no_user(username)


async def remove_user(store: Store, username: str, *, events: EventSink = NOBODY, clock: Clock = system_clock) -> None:
    await show_user(store, username)
    await tell(events, clock, Kind.USER_REMOVED, username, subject=username)
    if not await users.delete_user(store, username):
        raise _no_user(username)


def _no_user(username: str) -> UsageError:
    return UsageError(f"there is no user {username}", "See `garrison auth user list`.")
