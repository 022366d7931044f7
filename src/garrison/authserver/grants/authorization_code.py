"""RFC 6749 §4.1.3 with RFC 7636: a code becomes a token once, for whom it was made, with the verifier in hand."""

from garrison.authserver import granting, issue, refresh_values, seal
from garrison.authserver.context import Exchange
from garrison.authserver.forms import Parameters, required
from garrison.authserver.records import Client, Code
from garrison.authserver.stores.codes import consume_code, find_code
from garrison.authserver.stores.families import revoke_family
from garrison.authserver.stores.users import find_user
from garrison.base.events import Kind
from garrison.oauth import pkce
from garrison.oauth.errors import InvalidGrant


async def redeem(exchange: Exchange, form: Parameters, client: Client) -> issue.Grant:
    code = await find_code(exchange.store, seal.hashed(required(form, "code")))
    if code is None:
        raise InvalidGrant("the code is not known")
    # Whoever fails these holds a code that isn't theirs: they can't spend it, nor end what its owner has.
    _of_this_client(code, client)
    _same_redirect_uri(code, form)
    pkce.verify(form.get("code_verifier"), code.code_challenge)
    if code.used:
        raise await _replayed(exchange, code)
    _alive(code, exchange.now)
    granting.check_granted_resource(exchange.settings, client, code.family.resource, form.get("resource"))
    scope = await _scope_still_possible(exchange, client, code, form)
    return await _spend(exchange, client, code, scope)


def _of_this_client(code: Code, client: Client) -> None:
    if code.family.client_id != client.client_id:
        raise InvalidGrant("the code was issued to another client")


def _same_redirect_uri(code: Code, form: Parameters) -> None:
    """§4.1.3: the one of the authorization request, byte for byte, if that had one."""
    sent = form.get("redirect_uri")
    if sent != code.redirect_uri and (code.redirect_uri_given or sent is not None):
        raise InvalidGrant("redirect_uri is not the one of the authorization request")


def _alive(code: Code, now: float) -> None:
    if code.family.revoked or now >= code.expires_at:
        raise InvalidGrant("the code has expired or was revoked")


async def _scope_still_possible(exchange: Exchange, client: Client, code: Code, form: Parameters) -> frozenset[str]:
    found = await find_user(exchange.store, code.family.username)
    if found is None or found[0].disabled:
        raise InvalidGrant("the user is no longer active")
    possible = granting.ceiling(exchange.settings, client, code.family.resource, found[0])
    return granting.narrowed(code.family.scope & possible, form.get("scope"))


async def _spend(exchange: Exchange, client: Client, code: Code, scope: frozenset[str]) -> issue.Grant:
    family = code.family
    refresh_token = refresh_values.first(exchange, family.id) if "refresh_token" in client.grants else None
    grant = issue.Grant(
        grant_type="authorization_code",
        client_id=client.client_id,
        subject=family.username,
        scope=scope,
        resource=family.resource,
        family=family.id,
        refresh_token=refresh_token,
    )
    idle_end = exchange.now + exchange.settings.refresh_idle_lifetime
    first = (seal.hashed(refresh_token), idle_end) if refresh_token else None
    async with issue.recorded(exchange, grant):
        if not await consume_code(exchange.store, code, now=exchange.now, refresh=first):
            raise await _replayed(exchange, code)
    return grant


async def _replayed(exchange: Exchange, code: Code) -> InvalidGrant:
    """RFC 6749 §4.1.2: a code that comes twice was stolen from one of the two, so all that came of it ends."""
    family = code.family
    await revoke_family(exchange.store, family.id, exchange.now)
    await exchange.note(
        Kind.TOKEN_REUSED,
        subject=family.username,
        client_id=family.client_id,
        reason="an authorization code came again",
        family=family.id,
    )
    return InvalidGrant("the code was used before; its tokens are revoked")
