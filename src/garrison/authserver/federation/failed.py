"""A sign-in at the identity provider that came to nothing: an event, and a page that says so. Never a redirect."""

from starlette.responses import Response

from garrison.authserver import pages
from garrison.authserver.context import Exchange
from garrison.authserver.federation.errors import NotAllowed, ProviderUnavailable, SignInFailed
from garrison.authserver.federation.provider import Provider
from garrison.base.events import Kind
from garrison.oauth.redirect_uri import with_params


async def page(
    exchange: Exchange, provider: Provider, error: SignInFailed | ProviderUnavailable, sealed: str
) -> Response:
    another = isinstance(error, NotAllowed)
    wanted = {**({"request": sealed} if sealed else {}), **({"again": "yes"} if another else {})}
    await exchange.note(Kind.LOGIN_FAILED, reason=error.detail or error.description, provider=provider.settings.issuer)
    return pages.page(
        exchange,
        "sign_in_failed.html",
        status=error.status,
        headers=error.headers,
        provider=provider.settings.label,
        description=error.description,
        # Not /login: where local users may sign in too, that page asks for a password.
        back=with_params(exchange.settings.path + "/login/provider", wanted),
        another=another,
        reference=exchange.correlation_id,
    )
