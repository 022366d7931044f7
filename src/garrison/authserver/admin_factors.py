"""The operator's verbs on what users sign in with beside their passwords."""

from garrison.authserver.admin_events import NOBODY, tell
from garrison.authserver.admin_users import show_user
from garrison.authserver.stores import factors
from garrison.authserver.stores.factors import Factors
from garrison.authserver.stores.store import Store
from garrison.base.clock import Clock, system_clock
from garrison.base.events import EventSink, Kind

__all__ = ["Factors", "list_factors", "reset_factors", "show_factors"]


async def list_factors(store: Store) -> dict[str, Factors]:
    """By username, of all users."""
    return await factors.factors_of(store)


async def show_factors(store: Store, username: str) -> Factors:
    """Raises `UsageError` if there is no such user."""
    await show_user(store, username)
    return (await factors.factors_of(store, username)).get(username, Factors())


async def reset_factors(
    store: Store, username: str, *, events: EventSink = NOBODY, clock: Clock = system_clock
) -> None:
    """The password alone is left to sign in with; the user's sessions and grants end."""
    await show_user(store, username)
    await tell(events, clock, Kind.USER_CHANGED, username, subject=username, reason="factors were reset")
    await factors.reset_factors(store, username, clock())
