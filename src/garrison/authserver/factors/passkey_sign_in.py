"""Signing in by a passkey: without a password, and without a second factor, for the authenticator verifies its user.

The page needs script, which is one small file; the page where passwords are typed has none, and links here.
"""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from garrison.authserver import authorization_response, backoff, cookies, forms, pages, seal, session_start
from garrison.authserver.context import Exchange
from garrison.authserver.factors import challenges, relying_party
from garrison.authserver.factors.relying_party import RefusedError
from garrison.authserver.stores.passkeys import Passkey, find_passkey, use_passkey
from garrison.authserver.stores.sessions import Shown
from garrison.authserver.stores.users import find_user
from garrison.base.events import Kind

PATH = "/passkey"
_PURPOSE = "passkey sign-in"
_REFUSED = "The passkey is not known here, or its answer was not good or came too late. Try again."


async def endpoint(exchange: Exchange) -> Response:
    if not relying_party.is_possible(exchange.settings):
        raise HTTPException(404)
    return await (_sign_in(exchange) if exchange.request.method == "POST" else _ask(exchange))


async def _ask(exchange: Exchange) -> Response:
    sealed = forms.parse(exchange.request.scope["query_string"]).get("request", "")
    if await cookies.session(exchange):
        return session_start.onward(exchange, sealed)
    return _page(exchange, sealed)


async def _sign_in(exchange: Exchange) -> Response:
    form = await forms.read_form(exchange.request, exchange.settings.max_form_bytes)
    form.check_unrepeated()
    sealed = form.get("request", "")
    browser = cookies.check_form_token(exchange, forms.required(form, "csrf"), "passkey", sealed)
    if sealed:
        authorization_response.unseal(exchange, sealed)
    async with backoff.by_address(exchange, "passkeys", exchange.settings.free_failures_per_address) as costs:
        try:
            passkey = await _judged(exchange, browser, form)
        except RefusedError as error:
            await exchange.note(Kind.LOGIN_FAILED, reason="passkey", detail=str(error))
            return _page(exchange, sealed, error=_REFUSED, status=403)
        costs.forgiven = True
    shown = Shown(credential_id=passkey.credential_id)
    return await session_start.begin(exchange, passkey.username, sealed, shown=shown, by="passkey")


async def _judged(exchange: Exchange, browser: str, form: forms.Parameters) -> Passkey:
    """The passkey whose answer the form has, now that it counts as used. Raises `RefusedError`."""
    credential = form.get("credential", "")
    challenge = await challenges.answered(exchange, _PURPOSE, browser, form.get("challenge", ""))
    if challenge is None:
        raise RefusedError("the challenge is too old, another browser's, or was answered before")
    passkey = await find_passkey(exchange.store, relying_party.credential_id(credential))
    found = await find_user(exchange.store, passkey.username) if passkey else None
    if passkey is None or found is None or found[0].disabled or found[0].external:
        raise RefusedError("no such passkey, or its user is disabled or another's")
    count = relying_party.new_sign_count(exchange.settings, credential, challenge, passkey)
    if not await use_passkey(exchange.store, passkey, count, exchange.now):
        raise RefusedError("the passkey was removed or used at the same time")
    return passkey


def _page(exchange: Exchange, sealed: str, *, error: str = "", status: int = 200) -> Response:
    request = authorization_response.unseal(exchange, sealed) if sealed else None
    browser = cookies.read(exchange) or seal.new_secret()
    challenge, sealed_challenge = challenges.new(exchange, _PURPOSE, browser)
    response = pages.page(
        exchange,
        "passkey.html",
        scripted=True,
        status=status,
        redirect_uri=request.redirect_uri if request else None,
        request=sealed,
        csrf=cookies.form_token(exchange, browser, "passkey", sealed),
        challenge=sealed_challenge,
        options=relying_party.request_options(exchange.settings, challenge),
        error=error,
    )
    cookies.write(exchange, response, browser)
    return response
