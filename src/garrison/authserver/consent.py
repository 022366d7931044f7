"""Consent: the user sees who wants what and where the answer goes, and decides (RFC 6749 §10.12, RFC 9700 §4.16)."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.responses import Response

from garrison.authserver import authorization_response, cookies, forms, granting, pages, seal
from garrison.authserver.authorization_response import AuthorizationRequest, failure, success, to_page
from garrison.authserver.context import Exchange
from garrison.authserver.records import Client, Code, Family, Session
from garrison.authserver.stores.clients import find_client
from garrison.authserver.stores.codes import save_code
from garrison.authserver.stores.users import remember_consent, remembered_consent
from garrison.base.events import Kind
from garrison.oauth import redirect_uri, scope
from garrison.oauth.errors import AccessDenied, InvalidRequest

APPROVE = "approve"


@dataclass(frozen=True)
class Question:
    """What the user is asked: whether `client` may have `scopes`, all that it asked for and the user has."""

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
    if request.error:
        return failure(exchange, request, request.error)
    question = await _question(exchange, sealed, request, session)
    if not question.scopes:
        return await _refuse(exchange, question, "this user has nothing of the scope that was asked for")
    return await (_decide(exchange, question, form) if posted else _ask(exchange, question))


async def _question(exchange: Exchange, sealed: str, request: AuthorizationRequest, session: Session) -> Question:
    """Looked up again: since the request was sealed the client or the user may have lost rights."""
    found = await find_client(exchange.store, request.client_id)
    if found is None or found[0].disabled or not redirect_uri.matches(found[0].redirect_uris, request.redirect_uri):
        raise InvalidRequest("the application that sent you here is no longer registered")
    possible = granting.ceiling(exchange.settings, found[0], request.resource, session.user)
    return Question(sealed, request, found[0], session, possible & request.scopes)


async def _ask(exchange: Exchange, question: Question) -> Response:
    if _can_be_remembered(question) and not question.request.ask:
        remembered = await remembered_consent(
            exchange.store,
            username=question.session.user.username,
            client_id=question.client.client_id,
            resource=question.request.resource,
        )
        if question.scopes <= remembered:
            return await _approve(exchange, question, remembered=True)
    return _page(exchange, question)


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
        return await _refuse(exchange, question, "the user refused")
    if _can_be_remembered(question) and "remember" in form:
        await remember_consent(
            exchange.store,
            username=question.session.user.username,
            client_id=question.client.client_id,
            resource=question.request.resource,
            granted=question.scopes,
            now=exchange.now,
        )
    return await _approve(exchange, question, remembered=False)


async def _refuse(exchange: Exchange, question: Question, reason: str) -> Response:
    await exchange.note(
        Kind.CONSENT_REFUSED,
        subject=question.session.user.username,
        client_id=question.client.client_id,
        reason=reason,
    )
    return failure(exchange, question.request, AccessDenied(reason))


async def _approve(exchange: Exchange, question: Question, *, remembered: bool) -> Response:
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
    await save_code(exchange.store, code)
    return success(exchange, question.request, value)


def _code(exchange: Exchange, question: Question, key: str) -> Code:
    settings, request, now = exchange.settings, question.request, exchange.now
    refreshed = "refresh_token" in question.client.grants
    family = Family(
        id=seal.new_id(),
        client_id=question.client.client_id,
        username=question.session.user.username,
        session=question.session.key,
        scope=question.scopes,
        resource=request.resource,
        created_at=now,
        expires_at=now + (settings.refresh_absolute_lifetime if refreshed else settings.code_lifetime),
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
        client=question.client,
        client_host=pages.client_host(question.client.client_id) if question.client.source == "document" else "",
        remember=_can_be_remembered(question),
        redirect_host=pages.redirect_host(request.redirect_uri),
        loopback=redirect_uri.is_loopback(request.redirect_uri),
        resource=request.resource,
        scopes=pages.described(exchange, question.scopes),
    )


def _form(question: Question) -> tuple[str, ...]:
    return "consent", question.sealed, scope.render(question.scopes)
