"""Consent: the user sees who wants what and where the answer goes, and decides (RFC 6749 §10.12, RFC 9700 §4.16)."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import Response

from garrison.authserver import authorization_response, cookies, forms, granting, pages, seal, way_back
from garrison.authserver.authorization_response import AuthorizationRequest, failure, success, to_page
from garrison.authserver.context import Exchange
from garrison.authserver.records import Client, Code, Family, Session
from garrison.authserver.stores.clients import find_client
from garrison.authserver.stores.codes import save_code
from garrison.authserver.stores.users import remembered_consent
from garrison.base.events import Kind
from garrison.oauth import redirect_uri, scope
from garrison.oauth.errors import AccessDenied, InvalidRequest

APPROVE = "approve"


@dataclass(frozen=True)
class Question:
    """What the user is asked: whether `client` may have `scopes`, all that it asked for and the user has.

    `sealed` is the request as it came through the browser; empty if it comes from the client just now.
    """

    sealed: str
    request: AuthorizationRequest
    client: Client
    session: Session
    scopes: frozenset[str]


async def endpoint(exchange: Exchange) -> Response:
    posted = exchange.request.method == "POST"
    query: bytes = exchange.request.scope["query_string"]
    form = await forms.read_form(exchange.request, exchange.settings.max_form_bytes) if posted else forms.parse(query)
    form.check_unrepeated()
    sealed = forms.required(form, "request")
    request = authorization_response.unseal(exchange, sealed)
    session = await cookies.session(exchange)
    if session is None:
        return to_page(exchange, "/login", request=sealed)
    client = await client_of(exchange, request)
    if request.error:
        return way_back.answer(exchange, request, client, request.error)
    question = _question(sealed, exchange, request, client, session)
    if not question.scopes:
        return await _nothing_to_grant(exchange, question)
    return await (_decide(exchange, question, form) if posted else _ask(exchange, question))


async def agreed_before(exchange: Exchange, sealed: str, session: Session, agreed: frozenset[str]) -> Response:
    """What follows a sign-in at an identity provider, before which the user has let the client have `agreed`: the code.

    That decision was this browser's, on a page with all that ours shows but the user's name, minutes ago. Would more
    be granted than was on that page, the user is asked again.
    """
    request = authorization_response.unseal(exchange, sealed)
    client = await client_of(exchange, request)
    if request.error:
        return way_back.answer(exchange, request, client, request.error)
    question = _question(sealed, exchange, request, client, session)
    if not question.scopes:
        return await _nothing_to_grant(exchange, question)
    if question.scopes <= agreed:
        return await _approve(exchange, question, remembered=False)
    return to_page(exchange, "/consent", request=sealed)


async def answered_before(exchange: Exchange, request: AuthorizationRequest, client: Client) -> Response | None:
    """The code at once, if whoever is signed in has let `client`, just looked up, have all of this for good; else None,
    and the way leads over our pages.
    """
    session = await cookies.session(exchange)
    if session is None:
        return None
    question = _question("", exchange, request, client, session)
    if not question.scopes or not await _is_remembered(exchange, question):
        return None
    return await _approve(exchange, question, remembered=True)


async def client_of(exchange: Exchange, request: AuthorizationRequest) -> Client:
    """Looked up again: since the request was sealed the client may have lost rights. Raises `InvalidRequest`."""
    found = await find_client(exchange.store, request.client_id)
    if found is None or found[0].disabled or not redirect_uri.matches(found[0].redirect_uris, request.redirect_uri):
        raise InvalidRequest("the application that sent you here is no longer registered")
    return found[0]


def facts(exchange: Exchange, request: AuthorizationRequest, client: Client, scopes: frozenset[str]) -> dict[str, Any]:
    """What a page that asks for consent shows of who wants what, and where the answer goes."""
    return {
        "client": client,
        "client_host": pages.client_host(client.client_id) if client.source == "document" else "",
        "redirect_host": pages.redirect_host(request.redirect_uri),
        "loopback": redirect_uri.is_loopback(request.redirect_uri),
        "resource": request.resource,
        "scopes": pages.described(exchange, scopes),
    }


def _question(
    sealed: str, exchange: Exchange, request: AuthorizationRequest, client: Client, session: Session
) -> Question:
    """The user may have lost rights since the request."""
    possible = granting.ceiling(exchange.settings, client, request.resource, session.user)
    return Question(sealed, request, client, session, possible & request.scopes)


async def _ask(exchange: Exchange, question: Question) -> Response:
    if await _is_remembered(exchange, question):
        return await _approve(exchange, question, remembered=True)
    return _page(exchange, question)


async def _is_remembered(exchange: Exchange, question: Question) -> bool:
    if not _can_be_remembered(question) or question.request.ask:
        return False
    remembered = await remembered_consent(
        exchange.store,
        username=question.session.user.username,
        client_id=question.client.client_id,
        resource=question.request.resource,
    )
    return question.scopes <= remembered


def _can_be_remembered(question: Question) -> bool:
    """Only of a client that can be told from another (RFC 6819 §5.2.3.2): by its secret or key, or by its own host, if
    both its document and its redirect are there. Any program of that name could have asked else.
    """
    client = question.client
    if client.confidential:
        return True
    redirect, document = urlsplit(question.request.redirect_uri), urlsplit(client.client_id)
    return client.source == "document" and redirect.scheme == "https" and redirect.netloc == document.netloc


async def _decide(exchange: Exchange, question: Question, form: forms.Parameters) -> Response:
    # The token covers the scope too: what is granted is what was on the page.
    cookies.check_form_token(exchange, forms.required(form, "csrf"), *_form(question))
    if form.get("decision") != APPROVE:
        await _note_refusal(exchange, question, "the user refused")
        return failure(exchange, question.request, AccessDenied("the user refused"))
    remember = _can_be_remembered(question) and "remember" in form
    return await _approve(exchange, question, remembered=False, remember=remember)


async def _nothing_to_grant(exchange: Exchange, question: Question) -> Response:
    reason = "this user has nothing of the scope that was asked for"
    await _note_refusal(exchange, question, reason)
    return way_back.answer(exchange, question.request, question.client, AccessDenied(reason))


async def _note_refusal(exchange: Exchange, question: Question, reason: str) -> None:
    await exchange.note(
        Kind.CONSENT_REFUSED,
        subject=question.session.user.username,
        client_id=question.client.client_id,
        reason=reason,
    )


async def _approve(exchange: Exchange, question: Question, *, remembered: bool, remember: bool = False) -> Response:
    """The code; or all over again, if meanwhile the user was signed out, or what they had said was taken back."""
    value = seal.new_secret()
    code = _code(exchange, question, seal.hashed(value))
    await exchange.record(
        Kind.CONSENT_GIVEN,
        subject=code.family.username,
        client_id=code.family.client_id,
        scope=scope.render(code.family.scope),
        resource=code.family.resource,
        family=code.family.id,
        remembered=remembered,
    )
    if not await save_code(exchange.store, code, remembered=remembered, remember=remember):
        reason = "recorded as given, and then the session, the client or the remembered consent was no more"
        await exchange.note(
            Kind.CONSENT_REFUSED,
            subject=code.family.username,
            client_id=code.family.client_id,
            reason=reason,
            family=code.family.id,
        )
        return to_page(exchange, "/consent", request=question.sealed or question.request.sealed(exchange))
    return success(exchange, question.request, value)


def _code(exchange: Exchange, question: Question, key: str) -> Code:
    settings, request, now = exchange.settings, question.request, exchange.now
    refreshed = "refresh_token" in question.client.grants
    lifetime = settings.grant_lifetime(external=question.session.user.external)
    family = Family(
        id=seal.new_id(),
        client_id=question.client.client_id,
        username=question.session.user.username,
        session=question.session.key,
        scope=question.scopes,
        resource=request.resource,
        created_at=now,
        expires_at=now + (lifetime if refreshed else settings.code_lifetime),
        revoked=False,
    )
    return Code(
        key=key,
        family=family,
        redirect_uri=request.redirect_uri,
        redirect_uri_given=request.redirect_uri_given,
        code_challenge=request.code_challenge,
        expires_at=now + settings.code_lifetime,
        used=False,
    )


def _page(exchange: Exchange, question: Question) -> Response:
    request, browser = question.request, cookies.read(exchange) or ""
    return pages.page(
        exchange,
        "consent.html",
        redirect_uri=request.redirect_uri,
        request=question.sealed,
        csrf=cookies.form_token(exchange, browser, *_form(question)),
        sign_out_csrf=cookies.form_token(exchange, browser, "logout"),
        username=question.session.user.username,
        remember=_can_be_remembered(question),
        **facts(exchange, request, question.client, question.scopes),
    )


def _form(question: Question) -> tuple[str, ...]:
    return "consent", question.sealed, scope.render(question.scopes)
