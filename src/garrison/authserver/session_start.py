"""How a browser comes to be signed in: the event first, then a new session at every success (RFC 9700 §4.7)."""

from starlette.responses import Response

from garrison.authserver import account, backoff, cookies, devices, seal
from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.stores.sessions import Shown, save_session
from garrison.base.events import Kind
from garrison.oauth.errors import AccessDenied


async def begin(
    exchange: Exchange, username: str, sealed: str, *, shown: Shown, by: str, counted: str = ""
) -> Response:
    """Sign the browser in as `username` and send it on, to the request that waits in `sealed` if there is one.

    Args:
        exchange: the last step of the sign-in.
        username: who has proven to be this user, with all that it takes.
        sealed: an authorization request, or nothing.
        shown: what of that must still be so when the session begins.
        by: what proved it, for the event.
        counted: what of `backoff` the last step was charged to; it is forgiven.

    Raises:
        EventStoreError: it can't be recorded, and nobody is signed in.
        AccessDenied: what was shown does not do any more.
    """
    value = await open_session(exchange, username, shown, by=by)
    if counted:
        device = devices.known(exchange, username) if counted == backoff.PASSWORDS else ""
        await backoff.forgive(
            exchange.store, exchange.settings, username=username, address=exchange.address, what=counted, device=device
        )
    response = onward(exchange, sealed)
    cookies.write(exchange, response, value)
    devices.write(exchange, response, username)
    return response


async def open_session(exchange: Exchange, username: str, shown: Shown, *, by: str) -> str:
    """A new session of `username`, who has `shown` to be that; gives the value of its cookie.

    Raises:
        EventStoreError: it can't be recorded, and there is none.
        AccessDenied: what was shown does not do any more.
    """
    await exchange.record(Kind.LOGIN_SUCCEEDED, subject=username, by=by)
    value = seal.new_secret()
    if await save_session(
        exchange.store,
        seal.hashed(value),
        username=username,
        shown=shown,
        now=exchange.now,
        expires_at=exchange.now + exchange.settings.session_lifetime,
    ):
        return value
    await exchange.note(Kind.LOGIN_FAILED, subject=username, reason="recorded as signed in, and then it did not do")
    raise AccessDenied("Something about how you sign in has just been changed. Go back and sign in again.")


def onward(exchange: Exchange, sealed: str) -> Response:
    return to_page(exchange, "/consent", request=sealed) if sealed else to_page(exchange, account.PATH)
