"""The second step of a sign-in, for users who have set it up: a code by an app (RFC 6238), or a recovery code."""

from math import ceil

from starlette.responses import Response

from garrison.authserver import authorization_response, backoff, cookies, forms, pages, seal, session_start
from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.factors import codes, pending
from garrison.authserver.records import User
from garrison.authserver.stores.sessions import Shown
from garrison.authserver.stores.totp import find_totp
from garrison.base.events import Kind

PATH = "/factor"
_WRONG = "This code is wrong, or was used before. Wait for the next one."
_TOO_MANY = "Too many attempts. Wait a moment, then try again."


async def is_needed(exchange: Exchange, user: User) -> bool:
    return await find_totp(exchange.store, user.username) is not None


def ask(exchange: Exchange, user: User, password_hash: str, sealed: str) -> Response:
    """On to this page, for a browser that has shown the password."""
    response = to_page(exchange, PATH, **_waiting(sealed))
    browser = seal.new_secret()
    cookies.write(exchange, response, browser)
    pending.write(exchange, response, browser, user, password_hash)
    return response


async def endpoint(exchange: Exchange) -> Response:
    posted = exchange.request.method == "POST"
    form = await forms.read_either(exchange.request, exchange.settings.max_form_bytes)
    sealed = form.get("request", "")
    found = await pending.read(exchange)
    if found is None:
        return to_page(exchange, "/login", **_waiting(sealed))
    return await _judge(exchange, *found, form, sealed) if posted else _page(exchange, found[0], sealed)


async def _judge(exchange: Exchange, user: User, password_hash: str, form: forms.Parameters, sealed: str) -> Response:
    cookies.check_form_token(exchange, forms.required(form, "csrf"), "factor", sealed)
    wait = await backoff.charge(
        exchange.store,
        exchange.settings,
        username=user.username,
        address=exchange.address,
        now=exchange.now,
        what=backoff.CODES,
    )
    if wait > 0:
        await exchange.note(Kind.LOGIN_FAILED, subject=user.username, reason="back-off of codes")
        return _page(exchange, user, sealed, error=_TOO_MANY, status=429, wait=ceil(wait))
    by = await codes.used(exchange, user.username, form.get("code", ""))
    if by is None:
        await exchange.note(Kind.LOGIN_FAILED, subject=user.username, reason="wrong code")
        return _page(exchange, user, sealed, error=_WRONG, status=403)
    shown = Shown(password_hash=password_hash)
    response = await session_start.begin(
        exchange, user.username, sealed, shown=shown, by=f"password and {by}", counted=backoff.CODES
    )
    pending.forget(exchange, response)
    return response


def _page(
    exchange: Exchange, user: User, sealed: str, *, error: str = "", status: int = 200, wait: int = 0
) -> Response:
    request = authorization_response.unseal(exchange, sealed) if sealed else None
    return pages.page(
        exchange,
        "factor.html",
        status=status,
        headers={"Retry-After": str(wait)} if wait else {},
        redirect_uri=request.redirect_uri if request else None,
        username=user.username,
        request=sealed,
        csrf=cookies.form_token(exchange, cookies.read(exchange) or "", "factor", sealed),
        error=error,
    )


def _waiting(sealed: str) -> dict[str, str]:
    return {"request": sealed} if sealed else {}
