"""Verbs on what a user has granted, as the user sees it: by client and resource, however many grants that were."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from garrison.authserver.records import Client
from garrison.authserver.stores.clients import as_client
from garrison.authserver.stores.store import Store
from garrison.authserver.stores.tables import clients, codes, consents, families, refresh_tokens
from garrison.oauth import scope


@dataclass(frozen=True)
class Granted:
    """What `client` has at `resource`; `last_used` is when it last got a token, None if never."""

    client: Client
    resource: str
    scope: frozenset[str]
    since: float
    last_used: float | None
    remembered: bool


async def granted_by(store: Store, username: str, *, now: float, access_token_lifetime: float) -> list[Granted]:
    """What can still be used, or got again without asking; the latest first.

    A grant without a living refresh token counts for as long as its last access token lives.
    """
    async with store.read() as connection:
        grants = (await connection.execute(_grants(username))).all()
        remembered = (await connection.execute(consents.select().where(consents.c.username == username))).all()
        known = {row.client_id: as_client(row) for row in await connection.execute(_clients_of(username))}
    found: dict[tuple[str, str], list[tuple[Any, float | None]]] = defaultdict(list)
    for row in grants:
        last_used = max((used for used in (row.code_used, row.refresh_used) if used is not None), default=None)
        refreshable = row.refresh_until is not None and now < min(row.refresh_until, row.expires_at)
        if refreshable or now < (last_used or row.created_at) + access_token_lifetime:
            found[row.client_id, row.resource].append((row, last_used))
    for row in remembered:
        found[row.client_id, row.resource].append((row, None))
    for_good = {(row.client_id, row.resource) for row in remembered}
    merged = [_merged(known[key[0]], key[1], parts, remembered=key in for_good) for key, parts in found.items()]
    return sorted(merged, key=lambda granted: granted.last_used or granted.since, reverse=True)


async def take_back(store: Store, username: str, client_id: str, resource: str, *, now: float) -> bool:
    """End all that the user has granted `client_id` at `resource`, and forget that it was for good; whether it was."""
    async with store.write() as connection:
        forgotten = await connection.execute(
            consents.delete().where(
                consents.c.username == username, consents.c.client_id == client_id, consents.c.resource == resource
            )
        )
        ended = await connection.execute(
            families.update()
            .where(
                families.c.username == username,
                families.c.client_id == client_id,
                families.c.resource == resource,
                families.c.revoked_at.is_(None),
            )
            .values(revoked_at=now)
        )
    return forgotten.rowcount + ended.rowcount > 0


def _merged(client: Client, resource: str, parts: Iterable[tuple[Any, float | None]], *, remembered: bool) -> Granted:
    rows = list(parts)
    return Granted(
        client=client,
        resource=resource,
        scope=frozenset().union(*(scope.parse(row.scope) for row, _ in rows)),
        since=min(row.created_at for row, _ in rows),
        last_used=max((used for _, used in rows if used is not None), default=None),
        remembered=remembered,
    )


def _grants(username: str) -> sa.Select[Any]:
    of_family = refresh_tokens.c.family_id == families.c.id
    unused = of_family & refresh_tokens.c.used_at.is_(None)
    return sa.select(
        families.c.client_id,
        families.c.resource,
        families.c.scope,
        families.c.created_at,
        families.c.expires_at,
        _latest(codes.c.used_at, codes.c.family_id == families.c.id).label("code_used"),
        _latest(refresh_tokens.c.used_at, of_family).label("refresh_used"),
        _latest(refresh_tokens.c.expires_at, unused).label("refresh_until"),
    ).where(families.c.username == username, families.c.revoked_at.is_(None))


def _latest(column: sa.Column[Any], condition: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    return sa.select(sa.func.max(column)).where(condition).correlate(families).scalar_subquery()


def _clients_of(username: str) -> sa.Select[Any]:
    theirs = sa.union(
        sa.select(families.c.client_id).where(families.c.username == username),
        sa.select(consents.c.client_id).where(consents.c.username == username),
    )
    return sa.select(clients).where(clients.c.client_id.in_(theirs))
