"""Setting up codes by an app (RFC 6238): the secret as text and QR code, kept once its first right code has come."""

from starlette.responses import Response

from garrison.authserver import at_rest, cookies, forms, pages
from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.factors import codes, overview, permits, relying_party
from garrison.authserver.records import Session
from garrison.authserver.stores.totp import SealedTotp, save_totp
from garrison.base.events import Kind
from garrison.oauth import totp
from garrison.oauth.errors import InvalidRequest

PATH = "/account/app"
_PURPOSE = "set up an app"
_WRONG = "This code is wrong. Check the clock of the device, and type the code that the app shows now."
_GROUP = 4


async def begin(exchange: Exchange, session: Session, _target: str) -> Response:
    return to_page(exchange, PATH, permit=permits.new(exchange, session, _PURPOSE))


async def endpoint(exchange: Exchange) -> Response:
    opened = await permits.opened(exchange, _PURPOSE)
    if opened is None:
        return to_page(exchange, "/login")
    session, form, permit = opened
    if exchange.request.method == "POST":
        return await _confirm(exchange, session, form, permit)
    return _page(exchange, session, permit, _sealed(exchange, session, totp.new_secret()))


async def _confirm(exchange: Exchange, session: Session, form: forms.Parameters, permit: str) -> Response:
    username, sealed = session.user.username, forms.required(form, "secret")
    cookies.check_form_token(exchange, forms.required(form, "csrf"), "app", permit, sealed)
    typed = "".join(form.get("code", "").split())
    step = totp.matching_step(_opened(exchange, session, sealed), typed, exchange.now)
    if step is None:
        return _page(exchange, session, permit, sealed, error=_WRONG, status=403)
    recovery = codes.new_recovery_codes()
    await exchange.record(Kind.USER_CHANGED, subject=username, reason="an authenticator app was set up")
    made = SealedTotp(username, sealed, last_step=step, created_at=exchange.now)
    keys = [codes.recovery_key(exchange, username, code) for code in recovery]
    if not await save_totp(exchange.store, made, keys, session.key):
        raise InvalidRequest("An authenticator app is set up already. Remove it first to set up another.")
    return codes_page(exchange, session, recovery)


def codes_page(exchange: Exchange, session: Session, recovery: list[str]) -> Response:
    """The recovery codes, shown this once."""
    return pages.page(
        exchange,
        "recovery_codes.html",
        codes=recovery,
        back=exchange.settings.path + overview.PATH,
        **overview.who(exchange, session),
    )


def _page(
    exchange: Exchange, session: Session, permit: str, sealed: str, *, error: str = "", status: int = 200
) -> Response:
    secret, browser = _opened(exchange, session, sealed), cookies.read(exchange) or ""
    uri = totp.uri(secret, issuer=relying_party.name(exchange.settings), account=session.user.username)
    text = totp.text(secret)
    return pages.page(
        exchange,
        "app.html",
        status=status,
        uri=uri,
        qr=_qr(uri),
        text=" ".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP)),
        permit=permit,
        secret=sealed,
        csrf=cookies.form_token(exchange, browser, "app", permit, sealed),
        back=exchange.settings.path + overview.PATH,
        error=error,
        **overview.who(exchange, session),
    )


def _sealed(exchange: Exchange, session: Session, secret: bytes) -> str:
    """As it will be kept; until then the page's form carries it."""
    return at_rest.encrypted(exchange.settings.secret, at_rest.TOTP_SECRETS, session.user.username, secret)


def _opened(exchange: Exchange, session: Session, sealed: str) -> bytes:
    return at_rest.decrypted(exchange.settings.secret, at_rest.TOTP_SECRETS, session.user.username, sealed)


def _qr(uri: str) -> str:
    """An SVG element; segno is imported here because it costs a tenth of a second that most processes never need."""
    import segno  # noqa: PLC0415

    return segno.make(uri, error="m", micro=False).svg_inline(border=4, omitsize=True, light="#fff", svgclass=None)
