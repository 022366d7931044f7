"""RFC 6749 §6 with RFC 9700 §4.14.2: a refresh token is used once, and its reuse ends the family it belongs to."""

from msgspec.structs import replace

from garrison.authserver import granting, issue, refresh_values, seal
from garrison.authserver.context import Exchange
from garrison.authserver.forms import Parameters, required
from garrison.authserver.records import Client, RefreshToken
from garrison.authserver.stores.families import revoke_family
from garrison.authserver.stores.refresh_tokens import Successor, answer_was_lost, rotate_refresh
from garrison.authserver.stores.users import find_user
from garrison.base.events import Kind
from garrison.oauth.errors import InvalidGrant


async def refresh(exchange: Exchange, form: Parameters, client: Client) -> issue.Grant:
    value = required(form, "refresh_token")
    token = await refresh_values.find(exchange, value)
    if token is None:
        raise InvalidGrant("the refresh token is not known")
    _of_this_client(token, client)
    _alive(token, exchange.now)
    granting.check_granted_resource(exchange.settings, client, token.family.resource, form.get("resource"))
    scope = await _scope_still_possible(exchange, client, token, form)
    grant = issue.Grant(
        grant_type="refresh_token",
        client_id=client.client_id,
        subject=token.family.username,
        scope=scope,
        resource=token.family.resource,
        family=token.family.id,
    )
    return await _rotate(exchange, token, value, grant)


def _of_this_client(token: RefreshToken, client: Client) -> None:
    if token.family.client_id != client.client_id:
        raise InvalidGrant("the refresh token was issued to another client")


def _alive(token: RefreshToken, now: float) -> None:
    """Idle and absolute expiry. A used token is not judged here, but where it would be used again."""
    if token.family.revoked or now >= token.family.expires_at or (now >= token.expires_at and not token.used):
        raise InvalidGrant("the refresh token has expired or was revoked")


async def _scope_still_possible(
    exchange: Exchange, client: Client, token: RefreshToken, form: Parameters
) -> frozenset[str]:
    """What was granted, as far as client and user still have it; the successor keeps what was granted (§6)."""
    found = await find_user(exchange.store, token.family.username)
    if found is None or found[0].disabled:
        raise InvalidGrant("the user is no longer active")
    possible = granting.ceiling(exchange.settings, client, token.family.resource, found[0])
    return granting.narrowed(token.family.scope & possible, form.get("scope"))


async def _rotate(exchange: Exchange, token: RefreshToken, value: str, grant: issue.Grant) -> issue.Grant:
    settings, now = exchange.settings, exchange.now
    if token.used and not await answer_was_lost(exchange.store, token.key, now - settings.refresh_grace):
        raise await _reused(exchange, token)
    family, fresh_salt = token.family.id, seal.new_secret()
    successor = Successor(
        key=seal.hashed(refresh_values.successor(exchange, value, family, fresh_salt)),
        salt=fresh_salt,
        expires_at=now + settings.refresh_idle_lifetime,
    )
    async with issue.recorded(exchange, grant):
        salt = await rotate_refresh(exchange.store, token, successor, now=now, grace=settings.refresh_grace)
        if salt is None:
            raise await _reused(exchange, token)
    return replace(grant, refresh_token=refresh_values.successor(exchange, value, family, salt))


async def _reused(exchange: Exchange, token: RefreshToken) -> InvalidGrant:
    family = token.family
    await revoke_family(exchange.store, family.id, exchange.now)
    await exchange.note(
        Kind.TOKEN_REUSED,
        subject=family.username,
        client_id=family.client_id,
        reason="a refresh token came again",
        family=family.id,
    )
    return InvalidGrant("the refresh token was used before; the grant is revoked")
