"""A sign-in at the identity provider that came to nothing: an event, and a page that says so. Never a redirect."""

from starlette.responses import Response

from garrison.authserver import pages
from garrison.authserver.context import Exchange
from garrison.authserver.federation.errors import NotAllowed, ProviderUnavailable, SignInFailed
from garrison.authserver.federation.provider import Provider
from garrison.base.events import Kind


async def page(
    exchange: Exchange, provider: Provider, error: SignInFailed | ProviderUnavailable, sealed: str
) -> Response:
    await exchange.note(Kind.LOGIN_FAILED, reason=error.detail or error.description, provider=provider.settings.issuer)
    return pages.page(
        exchange,
        "sign_in_failed.html",
        status=error.status,
        headers=error.headers,
        provider=provider.settings.label,
        description=error.description,
        request=sealed,
        another=isinstance(error, NotAllowed),
        reference=exchange.correlation_id,
    )
