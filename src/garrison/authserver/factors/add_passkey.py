"""Adding a passkey (WebAuthn §7.1): the page's script asks the authenticator, the form brings its answer."""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from garrison.authserver import cookies, forms, pages
from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.factors import challenges, overview, permits, relying_party
from garrison.authserver.factors.relying_party import RefusedError
from garrison.authserver.records import Session
from garrison.authserver.stores.passkeys import passkeys_of, save_passkey
from garrison.base.events import Kind, one_line

PATH = "/account/passkey"
MOST = 20
"""Passkeys of one user."""
_PURPOSE = "add a passkey"
_CHALLENGE = "passkey registration"
_NAME_LENGTH = 64
_REFUSED = "Nothing was added: the answer of the device was not good, or came too late. Try again."


async def begin(exchange: Exchange, session: Session, _target: str) -> Response:
    return to_page(exchange, PATH, permit=permits.new(exchange, session, _PURPOSE))


async def endpoint(exchange: Exchange) -> Response:
    if not relying_party.is_possible(exchange.settings):
        raise HTTPException(404)
    opened = await permits.opened(exchange, _PURPOSE)
    if opened is None:
        return to_page(exchange, "/login")
    session, form, permit = opened
    if exchange.request.method == "POST":
        return await _add(exchange, session, form, permit)
    return await _page(exchange, session, permit)


async def _add(exchange: Exchange, session: Session, form: forms.Parameters, permit: str) -> Response:
    browser = cookies.check_form_token(exchange, forms.required(form, "csrf"), "add passkey", permit)
    try:
        await _save(exchange, session, form, browser)
    except RefusedError as error:
        await exchange.note(Kind.LOGIN_FAILED, subject=session.user.username, reason="new passkey", detail=str(error))
        return await _page(exchange, session, permit, error=_REFUSED, status=403)
    return to_page(exchange, overview.PATH, done="passkey-added")


async def _save(exchange: Exchange, session: Session, form: forms.Parameters, browser: str) -> None:
    """Raises `RefusedError`."""
    username = session.user.username
    challenge = await challenges.answered(exchange, _CHALLENGE, browser, form.get("challenge", ""))
    if challenge is None:
        raise RefusedError("the challenge is too old, another browser's, or was answered before")
    called = one_line(form.get("name", "").strip())[:_NAME_LENGTH] or "Passkey"
    passkey = relying_party.registered(
        exchange.settings, form.get("credential", ""), challenge, username=username, called=called, now=exchange.now
    )
    if len(await passkeys_of(exchange.store, username)) >= MOST:
        raise RefusedError(f"there are {MOST} already")
    await exchange.record(Kind.USER_CHANGED, subject=username, reason="a passkey was added")
    if not await save_passkey(exchange.store, passkey):
        raise RefusedError("the passkey is known already")


async def _page(exchange: Exchange, session: Session, permit: str, *, error: str = "", status: int = 200) -> Response:
    username, browser = session.user.username, cookies.read(exchange) or ""
    challenge, sealed = challenges.new(exchange, _CHALLENGE, browser)
    existing = await passkeys_of(exchange.store, username)
    return pages.page(
        exchange,
        "add_passkey.html",
        scripted=True,
        status=status,
        permit=permit,
        challenge=sealed,
        options=relying_party.creation_options(exchange.settings, username, challenge, existing),
        csrf=cookies.form_token(exchange, browser, "add passkey", permit),
        back=exchange.settings.path + overview.PATH,
        error=error,
        **overview.who(exchange, session),
    )
