"""Before anything is changed about how a user signs in: the password or a code once more (OWASP ASVS 5.0, 7.5.1).

A browser that somebody left signed in is not enough, neither to take a factor away nor to add one of one's own.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import ceil

from starlette.responses import Response

from garrison.authserver import backoff, cookies, forms, pages
from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.factors import add_passkey, add_totp, codes, overview, permits, removal
from garrison.authserver.records import Session
from garrison.authserver.stores.totp import find_totp
from garrison.authserver.stores.users import find_user
from garrison.base.events import Kind
from garrison.oauth.errors import InvalidRequest

PATH = "/account/confirm"
_WRONG = "This is not your password, nor a code of yours that is still good."
_WRONG_PASSWORD = "This is not your password."  # noqa: S105 - what a page says
_TOO_MANY = "Too many attempts. Wait a moment, then try again."


@dataclass(frozen=True)
class Change:
    """What the user is about to do. `danger` takes something away; `do` gets its target: a passkey's credential_id."""

    title: str
    text: str
    button: str
    do: Callable[[Exchange, Session, str], Awaitable[Response]]
    danger: bool = False


CHANGES: Mapping[str, Change] = {
    "add-app": Change(
        "Set up an authenticator app",
        "From then on, signing in by password takes a code from the app too.",
        "Continue",
        add_totp.begin,
    ),
    "remove-app": Change(
        "Remove the authenticator app?",
        "Your password alone will do to sign in, and your recovery codes end.",
        "Remove",
        removal.remove_app,
        danger=True,
    ),
    "recovery-codes": Change(
        "Make new recovery codes?",
        "The ones you have end.",
        "Make new codes",
        removal.new_recovery_codes,
    ),
    "add-passkey": Change(
        "Add a passkey",
        "It signs you in by your fingerprint, face or PIN, without a password.",
        "Continue",
        add_passkey.begin,
    ),
    "remove-passkey": Change(
        "Remove this passkey?",
        "It will not sign you in any more. Remove it from your device too.",
        "Remove",
        removal.remove_passkey,
        danger=True,
    ),
}


async def endpoint(exchange: Exchange) -> Response:
    session = await permits.session_of(exchange)
    if session is None:
        return to_page(exchange, "/login")
    posted = exchange.request.method == "POST"
    form = await forms.read_either(exchange.request, exchange.settings.max_form_bytes)
    name, target = forms.required(form, "do"), form.get("target", "")
    if name not in CHANGES:
        raise InvalidRequest("there is nothing of this name to do")
    if not posted:
        return await _page(exchange, session, name, target)
    cookies.check_form_token(exchange, forms.required(form, "csrf"), "confirm", name, target)
    return await _judge(exchange, session, name, target, form.get("proof", ""))


async def _judge(exchange: Exchange, session: Session, name: str, target: str, proof: str) -> Response:
    username = session.user.username
    account = {"username": username, "address": exchange.address, "what": backoff.PROOFS}
    wait = await backoff.charge(exchange.store, exchange.settings, **account, now=exchange.now)
    if wait > 0:
        await exchange.note(Kind.LOGIN_FAILED, subject=username, reason="back-off of confirmations")
        return await _page(exchange, session, name, target, error=_TOO_MANY, status=429, wait=ceil(wait))
    if not await _is_right(exchange, username, proof):
        await exchange.note(Kind.LOGIN_FAILED, subject=username, reason="wrong confirmation")
        return await _page(exchange, session, name, target, error=_WRONG, status=403)
    await backoff.forgive(exchange.store, exchange.settings, **account)
    return await CHANGES[name].do(exchange, session, target)


async def _is_right(exchange: Exchange, username: str, proof: str) -> bool:
    found = await find_user(exchange.store, username)
    right = await exchange.server.passwords.verify(proof, found[1] if found else None)
    return right or await codes.used(exchange, username, proof) is not None


async def _page(
    exchange: Exchange,
    session: Session,
    name: str,
    target: str,
    *,
    error: str = "",
    status: int = 200,
    wait: int = 0,
) -> Response:
    browser = cookies.read(exchange) or ""
    return pages.page(
        exchange,
        "confirm.html",
        status=status,
        headers={"Retry-After": str(wait)} if wait else {},
        change=CHANGES[name],
        name=name,
        target=target,
        codes=await find_totp(exchange.store, session.user.username) is not None,
        back=exchange.settings.path + overview.PATH,
        csrf=cookies.form_token(exchange, browser, "confirm", name, target),
        error=error,
        **overview.who(exchange, session),
    )
