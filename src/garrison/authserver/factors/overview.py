"""The page where a user sees how they sign in and where they are signed in, and from where they change it."""

from typing import Any

from starlette.responses import Response

from garrison.authserver import cookies, forms, pages
from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.factors import relying_party
from garrison.authserver.records import Session
from garrison.authserver.stores.factors import Factors, factors_of
from garrison.authserver.stores.passkeys import Passkey, passkeys_of
from garrison.authserver.stores.sessions import count_sessions, end_other_sessions
from garrison.base.events import Kind

PATH = "/account/sign-in"
_DONE = {
    "app-removed": "The authenticator app was removed.",
    "passkey-added": "The passkey was added. You can sign in with it from now on.",
    "passkey-removed": "The passkey was removed.",
    "signed-out": "Every other browser was signed out.",
}


async def endpoint(exchange: Exchange) -> Response:
    session = await cookies.session(exchange)
    if session is None:
        return to_page(exchange, "/login")
    return await (_sign_others_out if exchange.request.method == "POST" else _show)(exchange, session)


def who(exchange: Exchange, session: Session) -> dict[str, Any]:
    """What every page of an account says at its end: who is signed in, and a way out."""
    browser = cookies.read(exchange) or ""
    return {
        "username": session.user.username,
        "sign_out_csrf": cookies.form_token(exchange, browser, "logout"),
    }


async def _sign_others_out(exchange: Exchange, session: Session) -> Response:
    form = await forms.read_form(exchange.request, exchange.settings.max_form_bytes)
    form.check_unrepeated()
    cookies.check_form_token(exchange, forms.required(form, "csrf"), "sign others out")
    await end_other_sessions(exchange.store, session.user.username, session.key, exchange.now)
    await exchange.record(Kind.TOKEN_REVOKED, subject=session.user.username, reason="sign-out everywhere else")
    return to_page(exchange, PATH, done="signed-out")


async def _show(exchange: Exchange, session: Session) -> Response:
    username, browser = session.user.username, cookies.read(exchange) or ""
    factors = (await factors_of(exchange.store, username)).get(username, Factors())
    others = await count_sessions(exchange.store, username, exchange.now) - 1
    return pages.page(
        exchange,
        "sign_in_methods.html",
        factors=factors,
        external=session.user.external,
        passkeys=[_row(passkey) for passkey in await passkeys_of(exchange.store, username)],
        passkeys_possible=relying_party.is_possible(exchange.settings),
        since=pages.moment(session.created_at),
        others=others,
        others_csrf=cookies.form_token(exchange, browser, "sign others out"),
        done=_DONE.get(forms.parse(exchange.request.scope["query_string"]).get("done", ""), ""),
        **who(exchange, session),
    )


def _row(passkey: Passkey) -> dict[str, object]:
    return {
        "name": passkey.name,
        "credential_id": passkey.credential_id,
        "since": pages.moment(passkey.created_at),
        "last_used": pages.moment(passkey.last_used_at) if passkey.last_used_at else None,
    }
