"""Between the password and the second factor there is no session, only this: a sealed note in a cookie, for minutes."""

from starlette.responses import Response

from garrison.authserver import cookies, seal
from garrison.authserver.context import Exchange
from garrison.authserver.records import User
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.users import find_user
from garrison.oauth.errors import InvalidRequest

LIFETIME = 300
"""Seconds to find the telephone and type a code."""
_PURPOSE = "second factor"


def write(exchange: Exchange, response: Response, browser: str, user: User, password_hash: str) -> None:
    """Note in `response` that `browser` has shown the password of `user`."""
    payload = {
        "username": user.username,
        "browser": seal.hashed(browser),
        "password": _password(exchange, password_hash),
    }
    note = seal.seal(exchange.settings.secret, payload, exchange.now + LIFETIME, _PURPOSE)
    secure = exchange.settings.secure
    response.set_cookie(
        _name(exchange.settings), note, max_age=LIFETIME, path="/", secure=secure, httponly=True, samesite="lax"
    )


def forget(exchange: Exchange, response: Response) -> None:
    secure = exchange.settings.secure
    response.delete_cookie(_name(exchange.settings), path="/", secure=secure, httponly=True, samesite="lax")


async def read(exchange: Exchange) -> tuple[User, str] | None:
    """Whose password this browser has shown, and its hash: a user who is still enabled, and whose password is still
    that one.
    """
    note, browser = cookies.read_raw(exchange, _name(exchange.settings)), cookies.read(exchange) or ""
    try:
        payload = seal.unseal(exchange.settings.secret, note, exchange.now, _PURPOSE)
    except InvalidRequest:
        return None
    found = await find_user(exchange.store, payload["username"])
    if found is None or found[0].disabled or not exchange.settings.takes_users(external=found[0].external):
        return None
    if not seal.same_mac(payload["browser"], seal.hashed(browser)):
        return None
    return found if seal.same_mac(payload["password"], _password(exchange, found[1])) else None


def _name(settings: AuthServerSettings) -> str:
    return f"{cookies.name(settings)}-factor"


def _password(exchange: Exchange, password_hash: str) -> str:
    return seal.mac(exchange.settings.secret, "password that was shown", password_hash)
