"""How a browser comes to be signed in: the event first, then a new session at every success (RFC 9700 §4.7)."""

from starlette.responses import Response

from garrison.authserver import account, backoff, cookies, seal
from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.stores.sessions import save_session
from garrison.base.events import Kind


async def begin(exchange: Exchange, username: str, sealed: str, *, by: str, counted: str = "") -> Response:
    """Sign the browser in as `username` and send it on, to the request that waits in `sealed` if there is one.

    Args:
        exchange: the last step of the sign-in.
        username: who has proven to be this user, with all that it takes.
        sealed: an authorization request, or nothing.
        by: what proved it, for the event.
        counted: what of `backoff` the last step was charged to; it is forgiven.

    Raises:
        EventStoreError: it can't be recorded, and nobody is signed in.
    """
    value = await open_session(exchange, username, by=by)
    if counted:
        await backoff.forgive(
            exchange.store, exchange.settings, username=username, address=exchange.address, what=counted
        )
    response = onward(exchange, sealed)
    cookies.write(exchange, response, value)
    return response


async def open_session(exchange: Exchange, username: str, *, by: str) -> str:
    """A new session of `username`, who has proven to be that; gives the value of its cookie.

    Raises:
        EventStoreError: it can't be recorded, and there is none.
    """
    await exchange.record(Kind.LOGIN_SUCCEEDED, subject=username, by=by)
    value = seal.new_secret()
    await save_session(
        exchange.store,
        seal.hashed(value),
        username=username,
        now=exchange.now,
        expires_at=exchange.now + exchange.settings.session_lifetime,
    )
    return value


def onward(exchange: Exchange, sealed: str) -> Response:
    return to_page(exchange, "/consent", request=sealed) if sealed else to_page(exchange, account.PATH)
