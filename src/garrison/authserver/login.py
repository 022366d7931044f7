"""Sign-in, its first step: username and password, with back-off and a form token."""

from math import ceil

from starlette.responses import Response

from garrison.authserver import authorization_response, backoff, cookies, devices, forms, pages, seal, session_start
from garrison.authserver.authorization_response import AuthorizationRequest, to_page
from garrison.authserver.context import Exchange
from garrison.authserver.factors import relying_party, second_factor
from garrison.authserver.records import User
from garrison.authserver.stores.clients import find_client
from garrison.authserver.stores.sessions import Shown
from garrison.authserver.stores.users import find_user
from garrison.base.events import Kind
from garrison.oauth import redirect_uri
from garrison.oauth.errors import AccessDenied

_WRONG = "The username or the password is wrong."
_TOO_MANY = "Too many attempts. Wait a moment, then try again."


async def endpoint(exchange: Exchange) -> Response:
    if not exchange.settings.local_users and exchange.request.method == "POST":
        raise AccessDenied("Nobody has a password here. Go back and sign in at the identity provider.")
    return await (_sign_in(exchange) if exchange.request.method == "POST" else _ask(exchange))


async def _ask(exchange: Exchange) -> Response:
    query = forms.parse(exchange.request.scope["query_string"])
    sealed = query.get("request", "")
    if await cookies.session(exchange):
        return session_start.onward(exchange, sealed)
    if not exchange.settings.local_users:
        return to_page(
            exchange, "/login/provider", **{name: query[name] for name in ("request", "again") if name in query}
        )
    return await _page(exchange, sealed, again="again" in query)


async def _sign_in(exchange: Exchange) -> Response:
    form = await forms.read_form(exchange.request, exchange.settings.max_form_bytes)
    form.check_unrepeated()
    sealed = form.get("request", "")
    cookies.check_form_token(exchange, forms.required(form, "csrf"), "login", sealed)
    _request(exchange, sealed)
    username = form.get("username", "").strip().lower()
    found = await find_user(exchange.store, username)
    device = devices.known(exchange, username)
    wait = await backoff.charge(
        exchange.store, exchange.settings, username=username, address=exchange.address, now=exchange.now, device=device
    )
    if wait > 0:
        await _failed(exchange, username, found, "back-off")
        return await _page(exchange, sealed, username=username, error=_TOO_MANY, status=429, wait=ceil(wait))
    right = await _password_is_right(exchange, found, form.get("password", ""))
    if found is None or not right:
        await _failed(exchange, username, found, "wrong password" if found else "unknown user")
        return await _page(exchange, sealed, username=username, error=_WRONG, status=403)
    return await _shown_password(exchange, found, sealed)


def _request(exchange: Exchange, sealed: str) -> AuthorizationRequest | None:
    """What the user signs in for; None if it is for their own page. Raises `InvalidRequest` if it is too old."""
    return authorization_response.unseal(exchange, sealed) if sealed else None


async def _password_is_right(exchange: Exchange, found: tuple[User, str] | None, password: str) -> bool:
    """An unknown or disabled user costs the same time and gets the same answer as a wrong password."""
    right = await exchange.server.passwords.verify(password, found[1] if found else None)
    return bool(found and right and not found[0].disabled)


async def _shown_password(exchange: Exchange, found: tuple[User, str], sealed: str) -> Response:
    """Signed in, unless it takes a second factor."""
    user, password_hash = found
    if not await second_factor.is_needed(exchange, user):
        shown = Shown(password_hash=password_hash, alone=True)
        return await session_start.begin(
            exchange, user.username, sealed, shown=shown, by="password", counted=backoff.PASSWORDS
        )
    device = devices.known(exchange, user.username)
    await backoff.forgive(
        exchange.store, exchange.settings, username=user.username, address=exchange.address, device=device
    )
    return second_factor.ask(exchange, user, password_hash, sealed)


async def _failed(exchange: Exchange, username: str, found: tuple[User, str] | None, reason: str) -> None:
    """Without the name, if no user has it: people type passwords into the wrong field."""
    account = backoff.account_key(exchange.settings, username)[:12]
    await exchange.note(Kind.LOGIN_FAILED, subject=username if found else "", reason=reason, account=account)


async def _page(
    exchange: Exchange,
    sealed: str,
    *,
    username: str = "",
    error: str = "",
    status: int = 200,
    wait: int = 0,
    again: bool = False,
) -> Response:
    """`again`: whoever goes on to the identity provider wants to choose another account there."""
    waiting = {**({"request": sealed} if sealed else {}), **({"again": "yes"} if again else {})}
    request = _request(exchange, sealed)
    found = await find_client(exchange.store, request.client_id) if request else None
    browser = cookies.read(exchange) or seal.new_secret()
    response = pages.page(
        exchange,
        "login.html",
        status=status,
        headers={"Retry-After": str(wait)} if wait else {},
        redirect_uri=request.redirect_uri if request else None,
        client=found[0].name if found else "",
        username=username,
        request=sealed,
        provider=exchange.settings.identity_provider.label if exchange.settings.identity_provider else "",
        csrf=cookies.form_token(exchange, browser, "login", sealed),
        provider_address=redirect_uri.with_params(exchange.settings.path + "/login/provider", waiting),
        error=error,
        passkeys=relying_party.is_possible(exchange.settings),
    )
    cookies.write(exchange, response, browser)
    return response
