"""The operator's verbs on grants: what users have let clients have, which lives on in refresh tokens."""

from garrison.authserver.admin_events import NOBODY, tell
from garrison.authserver.records import Family
from garrison.authserver.stores import families
from garrison.authserver.stores.store import Store
from garrison.base.clock import Clock, system_clock
from garrison.base.errors import UsageError
from garrison.base.events import EventSink, Kind


async def list_grants(
    store: Store, *, username: str | None = None, client_id: str | None = None, clock: Clock = system_clock
) -> list[Family]:
    """The living grants of a user, of a client, or all, newest first."""
    return await families.living_families(store, clock(), username=username, client_id=client_id)


async def show_grant(store: Store, grant_id: str) -> Family:
    """The grant, ended or not. Raises `UsageError` if there is none of that name."""
    found = await families.find_family(store, grant_id)
    if found is None:
        raise UsageError(f"there is no grant {grant_id}", "See `garrison auth grants list`.")
    return found


async def revoke_grant(store: Store, grant_id: str, *, events: EventSink = NOBODY, clock: Clock = system_clock) -> None:
    """Its refresh tokens and codes are dead, and the client gets no other without asking its user; access tokens that
    are out live on for their minutes.
    """
    grant = await show_grant(store, grant_id)
    who = {"client_id": grant.client_id, "subject": grant.username}
    await tell(events, clock, Kind.TOKEN_REVOKED, grant_id, **who, reason="by the operator", family=grant.id)
    await families.revoke_for_good(store, grant, clock())
