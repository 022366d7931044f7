"""To the identity provider: the user sees who asks for what and agrees, and only then does the browser leave.

That order is the point (MCP's security best practices, "confused deputy"): the provider knows us as one client and may
ask nobody anything, so a page of ours must name the application that is behind the request before it. `state` is made
after the user has agreed; `nonce` and `code_verifier` are made of it and our secret, and are kept nowhere.
"""

from dataclasses import dataclass

from starlette.responses import Response

from garrison.authserver import (
    authorization_response,
    backoff,
    consent,
    cookies,
    forms,
    granting,
    pages,
    seal,
    session_start,
)
from garrison.authserver.authorization_response import AuthorizationRequest, failure, to_page
from garrison.authserver.context import Exchange
from garrison.authserver.federation import failed
from garrison.authserver.federation.errors import ProviderUnavailable
from garrison.authserver.federation.provider import Provider
from garrison.authserver.records import Client
from garrison.authserver.stores.departures import Departure, save_departure
from garrison.base.events import Kind
from garrison.oauth import pkce, redirect_uri, scope
from garrison.oauth.errors import AccessDenied

PATH = "/login/provider"
RETURN_PATH = "/login/callback"
ATTEMPTS = "identity provider"
"""What an address is charged for with each departure, and forgiven with each return that signs somebody in."""


@dataclass(frozen=True)
class Waiting:
    """What the user signs in for: an application's request, or with an empty one their own page."""

    sealed: str = ""
    request: AuthorizationRequest | None = None
    client: Client | None = None
    scopes: frozenset[str] = frozenset()

    def form(self) -> tuple[str, ...]:
        """What its form token covers: what the user agrees to is what was on the page."""
        return "identity provider", self.sealed, scope.render(self.scopes)


async def endpoint(exchange: Exchange, provider: Provider) -> Response:
    return await (_decide if exchange.request.method == "POST" else _ask)(exchange, provider)


def nonce(exchange: Exchange, state: str) -> str:
    return seal.mac(exchange.settings.secret, "identity provider: nonce", state)


def verifier(exchange: Exchange, state: str) -> str:
    return seal.mac(exchange.settings.secret, "identity provider: code_verifier", state)


def return_address(exchange: Exchange) -> str:
    """The one redirect URI that the provider knows of us."""
    return exchange.settings.url(RETURN_PATH)


async def _ask(exchange: Exchange, provider: Provider) -> Response:
    query = forms.parse(exchange.request.scope["query_string"])
    query.check_unrepeated()
    sealed = query.get("request", "")
    if await cookies.session(exchange):
        return session_start.onward(exchange, sealed)
    return _page(exchange, provider, await _waiting(exchange, sealed), again="again" in query)


async def _decide(exchange: Exchange, provider: Provider) -> Response:
    form = await forms.read_form(exchange.request, exchange.settings.max_form_bytes)
    form.check_unrepeated()
    waiting = await _waiting(exchange, form.get("request", ""))
    browser = cookies.check_form_token(exchange, forms.required(form, "csrf"), *waiting.form())
    if form.get("decision") != consent.APPROVE:
        return await _refuse(exchange, waiting)
    return await _leave(exchange, provider, waiting, browser, again="again" in form)


async def _waiting(exchange: Exchange, sealed: str) -> Waiting:
    """Raises `InvalidRequest` if the request is too old, or its client no longer registered."""
    if not sealed:
        return Waiting()
    request = authorization_response.unseal(exchange, sealed)
    client = await consent.client_of(exchange, request)
    # A request that is an error has no scope: there is nothing to agree to but the sign-in.
    scopes = granting.ceiling(exchange.settings, client, request.resource) & request.scopes
    return Waiting(sealed, request, client, scopes)


async def _refuse(exchange: Exchange, waiting: Waiting) -> Response:
    """Back to the client; but for one that nobody vouches for only by a link, as nobody has signed in (RFC 9700
    §4.11.2).
    """
    if waiting.request is None or waiting.client is None:
        return to_page(exchange, PATH)
    reason = "the user refused before signing in"
    await exchange.note(Kind.CONSENT_REFUSED, client_id=waiting.client.client_id, reason=reason)
    answer = failure(exchange, waiting.request, waiting.request.error or AccessDenied("the user refused"))
    if waiting.client.vouched_for:
        return answer
    return pages.page(
        exchange,
        "refused.html",
        client=waiting.client.name,
        redirect_host=pages.redirect_host(waiting.request.redirect_uri),
        back=answer.headers["location"],
    )


async def _leave(exchange: Exchange, provider: Provider, waiting: Waiting, browser: str, *, again: bool) -> Response:
    """A page that leads on by itself, rather than a redirect: Chromium would hold our form-action against every
    redirect behind it, and where a provider sends its users on its way is not for us to know.
    """
    async with backoff.by_address(exchange, ATTEMPTS, exchange.settings.free_failures_per_address):
        pass
    state = seal.new_secret()
    try:
        url = await _address(exchange, provider, state, again=again)
    except ProviderUnavailable as error:
        return await failed.page(exchange, provider, error, waiting.sealed)
    await save_departure(
        exchange.store,
        Departure(
            key=seal.hashed(state),
            browser=seal.hashed(browser),
            request=waiting.request.sealed(exchange) if waiting.request else "",  # with time anew, for the way there
            agreed=scope.render(waiting.scopes),
            expires_at=exchange.now + exchange.settings.sign_in_lifetime,
        ),
    )
    return pages.page(exchange, "leaving.html", provider=provider.settings.label, url=url)


async def _address(exchange: Exchange, provider: Provider, state: str, *, again: bool) -> str:
    """OpenID Connect Core §3.1.2.1, with PKCE (RFC 7636)."""
    metadata = await provider.metadata()
    params = {
        "response_type": "code",
        "client_id": provider.settings.client_id,
        "redirect_uri": return_address(exchange),
        "scope": scope.render(provider.settings.scopes | {"openid"}),
        "state": state,
        "nonce": nonce(exchange, state),
        "code_challenge": pkce.challenge_s256(verifier(exchange, state)),
        "code_challenge_method": pkce.METHOD,
        **({"prompt": provider.settings.account_prompt} if again else {}),
    }
    return redirect_uri.with_params(metadata.authorization_endpoint, params)


def _page(exchange: Exchange, provider: Provider, waiting: Waiting, *, again: bool) -> Response:
    browser = cookies.read(exchange) or seal.new_secret()
    request = waiting.request
    response = pages.page(
        exchange,
        "provider.html",
        redirect_uri=request.redirect_uri if request else None,
        provider=provider.settings.label,
        provider_host=provider.settings.host,
        asked=bool(waiting.scopes),
        again=again,
        request=waiting.sealed,
        csrf=cookies.form_token(exchange, browser, *waiting.form()),
        **(
            consent.facts(exchange, request, waiting.client, waiting.scopes)
            if request and waiting.client
            else {"client": None}
        ),
    )
    cookies.write(exchange, response, browser)
    return response
