"""The page where a user sees what they have granted, and takes it back."""

from starlette.responses import Response

from garrison.authserver import cookies, forms, pages
from garrison.authserver.authorization_response import to_page
from garrison.authserver.context import Exchange
from garrison.authserver.records import Client, Session
from garrison.authserver.stores.granted import Granted, granted_by, take_back
from garrison.base.events import Kind

PATH = "/account/grants"


async def endpoint(exchange: Exchange) -> Response:
    session = await cookies.session(exchange)
    if session is None:
        return to_page(exchange, "/login")
    return await (_take_back if exchange.request.method == "POST" else _list)(exchange, session)


async def _take_back(exchange: Exchange, session: Session) -> Response:
    form = await forms.read_form(exchange.request, exchange.settings.max_form_bytes)
    form.check_unrepeated()
    client_id, resource = forms.required(form, "client_id"), forms.required(form, "resource")
    cookies.check_form_token(exchange, forms.required(form, "csrf"), "take back", client_id, resource)
    if await take_back(exchange.store, session.user.username, client_id, resource, now=exchange.now):
        await exchange.record(
            Kind.TOKEN_REVOKED,
            subject=session.user.username,
            client_id=client_id,
            reason="by the user",
            resource=resource,
        )
    return to_page(exchange, PATH, done="yes")


async def _list(exchange: Exchange, session: Session) -> Response:
    settings, browser = exchange.settings, cookies.read(exchange) or ""
    granted = await granted_by(
        exchange.store,
        session.user.username,
        now=exchange.now,
        access_token_lifetime=settings.access_token_lifetime,
    )
    return pages.page(
        exchange,
        "grants.html",
        username=session.user.username,
        sign_out_csrf=cookies.form_token(exchange, browser, "logout"),
        minutes=-(-settings.access_token_lifetime // 60),
        done=forms.parse(exchange.request.scope["query_string"]).get("done") == "yes",
        grants=[_row(exchange, browser, one) for one in granted],
    )


def _row(exchange: Exchange, browser: str, granted: Granted) -> dict[str, object]:
    client = granted.client
    return {
        "name": client.name,
        "host": pages.client_host(client.client_id) if client.source == "document" else _home(client),
        "client_id": client.client_id,
        "resource": granted.resource,
        "scopes": pages.described(exchange, granted.scope),
        "since": pages.moment(granted.since),
        "last_used": pages.moment(granted.last_used) if granted.last_used else None,
        "remembered": granted.remembered,
        "csrf": cookies.form_token(exchange, browser, "take back", client.client_id, granted.resource),
    }


def _home(client: Client) -> str:
    """Where its users are sent back to: all that is known of who a client is that has no document."""
    return ", ".join(sorted({pages.redirect_host(uri) for uri in client.redirect_uris}))
