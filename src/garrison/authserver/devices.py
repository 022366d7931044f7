"""Browsers that a user has signed in with before (OWASP's device cookies): they have a count of wrong passwords of
their own, so that a stranger who types wrong ones all day slows down strangers alone.

The cookie signs nobody in. It names no user either: only with the username that is typed can its signature be judged.
"""

from starlette.responses import Response

from garrison.authserver import cookies, seal
from garrison.authserver.context import Exchange
from garrison.authserver.settings import DAY, AuthServerSettings

LIFETIME = 180 * DAY
"""Seconds; each sign-in begins them anew."""
_PURPOSE = "device"


def known(exchange: Exchange, username: str) -> str:
    """The name of the browser, if `username` has signed in with it before; else empty."""
    device, _, signature = cookies.read_raw(exchange, _name(exchange.settings)).partition(".")
    return device if seal.same_mac(signature, _signature(exchange, username, device)) else ""


def write(exchange: Exchange, response: Response, username: str) -> None:
    """Only for a browser that has just signed in as `username`, with all that it takes."""
    device = known(exchange, username) or seal.new_id()
    response.set_cookie(
        _name(exchange.settings),
        f"{device}.{_signature(exchange, username, device)}",
        max_age=LIFETIME,
        path="/",
        secure=exchange.settings.secure,
        httponly=True,
        samesite="lax",
    )


def _name(settings: AuthServerSettings) -> str:
    return f"{cookies.name(settings)}-device"


def _signature(exchange: Exchange, username: str, device: str) -> str:
    return seal.mac(exchange.settings.secret, _PURPOSE, username, device)
