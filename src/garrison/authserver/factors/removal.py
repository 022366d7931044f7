"""Taking away what a user signs in with, once they have confirmed it (confirm.py)."""

from starlette.responses import Response

from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.factors import add_totp, codes, overview
from garrison.authserver.records import Session
from garrison.authserver.stores import passkeys, totp
from garrison.base.events import Kind
from garrison.oauth.errors import InvalidRequest


async def remove_app(exchange: Exchange, session: Session, _target: str) -> Response:
    username = session.user.username
    await exchange.record(Kind.USER_CHANGED, subject=username, reason="the authenticator app was removed")
    await totp.remove_totp(exchange.store, username)
    return to_page(exchange, overview.PATH, done="app-removed")


async def new_recovery_codes(exchange: Exchange, session: Session, _target: str) -> Response:
    username = session.user.username
    if await totp.find_totp(exchange.store, username) is None:
        raise InvalidRequest("Recovery codes come with an authenticator app, and there is none.")
    recovery = codes.new_recovery_codes()
    await exchange.record(Kind.USER_CHANGED, subject=username, reason="new recovery codes")
    keys = [codes.recovery_key(exchange, username, code) for code in recovery]
    await totp.replace_recovery_codes(exchange.store, username, keys)
    return add_totp.codes_page(exchange, session, recovery)


async def remove_passkey(exchange: Exchange, session: Session, target: str) -> Response:
    """The user's own; another's stays where it is."""
    username = session.user.username
    await exchange.record(Kind.USER_CHANGED, subject=username, reason="a passkey was removed")
    await passkeys.remove_passkey(exchange.store, username, target)
    return to_page(exchange, overview.PATH, done="passkey-removed")
