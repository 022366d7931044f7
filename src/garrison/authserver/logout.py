"""Sign-out: the session ends, and with it every refresh token that was granted in it."""

from starlette.responses import Response

from garrison.authserver import cookies, forms, pages, seal
from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.stores.sessions import end_session
from garrison.base.events import Kind


async def endpoint(exchange: Exchange) -> Response:
    return await (_sign_out(exchange) if exchange.request.method == "POST" else _ask(exchange))


async def _ask(exchange: Exchange) -> Response:
    session = await cookies.session(exchange)
    csrf = cookies.form_token(exchange, cookies.read(exchange) or "", "logout")
    provider = None if session else exchange.server.provider
    return pages.page(
        exchange,
        "logout.html",
        username=session.user.username if session else "",
        csrf=csrf,
        provider=provider.settings.label if provider else "",
        sign_out_address=await provider.sign_out_address() if provider else "",
    )


async def _sign_out(exchange: Exchange) -> Response:
    """Back to the sign-in page if a `request` is waiting for another user."""
    form = await forms.read_form(exchange.request, exchange.settings.max_form_bytes)
    form.check_unrepeated()
    browser = cookies.check_form_token(exchange, forms.required(form, "csrf"), "logout")
    session = await cookies.session(exchange)
    if session:
        await end_session(exchange.store, seal.hashed(browser), exchange.now)
        await exchange.record(Kind.TOKEN_REVOKED, subject=session.user.username, reason="sign-out")
    sealed = form.get("request")
    # A provider that still knows the browser would sign the same user in again without a question.
    again = {"again": "yes"} if session and session.user.external else {}
    response = to_page(exchange, "/login", request=sealed, **again) if sealed else to_page(exchange, "/logout")
    cookies.write(exchange, response, seal.new_secret())
    return response
