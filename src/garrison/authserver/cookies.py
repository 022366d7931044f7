"""The one cookie: a random value that names a browser, and once signed in its session (RFC 6265bis §4.1.3)."""

import re

from starlette.responses import Response

from garrison.authserver import seal
from garrison.authserver.context import Exchange
from garrison.authserver.records import Session
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.sessions import find_session
from garrison.oauth.errors import InvalidRequest

_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")


def name(settings: AuthServerSettings) -> str:
    """With __Host- no other host and no plain HTTP can set it; on http loopback browsers would refuse that."""
    return "__Host-garrison" if settings.secure else "garrison-insecure"


def read(exchange: Exchange) -> str | None:
    value = read_raw(exchange, name(exchange.settings))
    return value if _SHAPE.fullmatch(value) else None


def read_raw(exchange: Exchange, wanted: str) -> str:
    """The value of the one cookie of exactly this name (RFC 6265 §5.4); empty if there is none, or two.

    Not `request.cookies`: that strips what browsers take for a part of the name (a no-break space, say), and so a
    cookie that another host of the domain has set would pass for one with the prefix __Host-, which none can set.
    """
    pairs = (
        part.strip(" \t").partition("=")
        for header in exchange.request.headers.getlist("cookie")
        for part in header.split(";")
    )
    values = [value for found, _, value in pairs if found == wanted]
    return values[0] if len(values) == 1 else ""


def write(exchange: Exchange, response: Response, value: str) -> None:
    response.set_cookie(
        name(exchange.settings), value, path="/", secure=exchange.settings.secure, httponly=True, samesite="lax"
    )


async def session(exchange: Exchange) -> Session | None:
    """The browser's session, if it is signed in as a user of a kind that still may."""
    value = read(exchange)
    found = await find_session(exchange.store, seal.hashed(value), exchange.now) if value else None
    return found if found and exchange.settings.takes_users(external=found.user.external) else None


def form_token(exchange: Exchange, browser: str, *form: str) -> str:
    """A token that makes a form this browser's own: who lacks the cookie can't post it (CSRF)."""
    return seal.mac(exchange.settings.secret, "form", browser, *form)


def check_form_token(exchange: Exchange, token: str, *form: str) -> str:
    """The cookie's value, if `token` is the form's and this browser's.

    Raises:
        InvalidRequest: it isn't.
    """
    browser = read(exchange)
    if browser is None or not seal.same_mac(token, form_token(exchange, browser, *form)):
        raise InvalidRequest("This form is out of date or was not sent from our page. Go back and try again.")
    return browser
