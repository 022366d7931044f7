"""The authorization endpoint (RFC 6749 §3.1, §4.1.1, as OAuth 2.1 tightens it): a list of checks, then to the user."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from starlette.responses import Response

from garrison.authserver import client_documents, consent, forms, granting
from garrison.authserver.authorization_response import AuthorizationRequest, failure, to_page
from garrison.authserver.context import Exchange
from garrison.authserver.records import Client
from garrison.authserver.settings import AuthServerSettings
from garrison.base.events import Kind
from garrison.oauth import pkce, redirect_uri, scope
from garrison.oauth.errors import (
    InvalidClientMetadata,
    InvalidRequest,
    InvalidScope,
    OAuthError,
    UnauthorizedClient,
    UnsupportedResponseType,
)

MAX_QUERY = 8192


@dataclass
class Draft:
    """The request so far: each check judges a part of `parameters`, and fills in what it made of it."""

    settings: AuthServerSettings
    parameters: forms.Parameters
    client: Client
    redirect_uri: str
    code_challenge: str = ""
    resource: str = ""
    scope: frozenset[str] = frozenset()


async def endpoint(exchange: Exchange) -> Response:
    parameters = await _parameters(exchange)
    try:
        # Until these have passed there is nobody to redirect to: their errors are pages (§4.1.2.1).
        client = await _known_client(exchange, parameters)
        draft = Draft(exchange.settings, parameters, client, _registered_redirect_uri(client, parameters))
    except OAuthError as error:
        await exchange.note(Kind.CLIENT_REFUSED, reason=error.description, detail=error.detail or None)
        raise
    try:
        for check in CHECKS:
            check(draft)
    except OAuthError as error:
        await exchange.note(Kind.TOKEN_REFUSED, client_id=client.client_id, reason=error.description, error=error.error)
        return _refused(exchange, draft, error)
    request = _request(draft)
    answer = await consent.answered_before(exchange, request, client)
    return answer or to_page(exchange, "/consent", request=request.sealed(exchange))


def _no_repeated_parameter(draft: Draft) -> None:
    draft.parameters.check_unrepeated()


def _client_may_use_codes(draft: Draft) -> None:
    if "authorization_code" not in draft.client.grants:
        raise UnauthorizedClient("this client is not registered for authorization_code")


def _response_type_is_code(draft: Draft) -> None:
    if forms.required(draft.parameters, "response_type") != "code":
        raise UnsupportedResponseType("response_type must be code")


def _response_mode_is_query(draft: Draft) -> None:
    if draft.parameters.get("response_mode", "query") != "query":
        raise InvalidRequest("response_mode must be query")


def _code_challenge_is_s256(draft: Draft) -> None:
    parameters = draft.parameters
    draft.code_challenge = pkce.check_challenge(
        parameters.get("code_challenge"), parameters.get("code_challenge_method")
    )


def _resource_is_known(draft: Draft) -> None:
    draft.resource = granting.resource_for(draft.settings, draft.client, draft.parameters.get("resource"))


def _some_scope_can_be_granted(draft: Draft) -> None:
    possible = granting.ceiling(draft.settings, draft.client, draft.resource)
    draft.scope = possible & (granting.asked_for(draft.parameters.get("scope")) or possible)
    if not draft.scope:
        raise InvalidScope("nothing of this scope can be granted to this client at this resource")


CHECKS: tuple[Callable[[Draft], None], ...] = (
    _no_repeated_parameter,
    _client_may_use_codes,
    _response_type_is_code,
    _response_mode_is_query,
    _code_challenge_is_s256,
    _resource_is_known,
    _some_scope_can_be_granted,
)


async def _parameters(exchange: Exchange) -> forms.Parameters:
    """From the query, or the form of a POST (OpenID Connect §3.1.2.1 wants both)."""
    if exchange.request.method == "POST":
        return await forms.read_form(exchange.request, exchange.settings.max_form_bytes)
    query: bytes = exchange.request.scope["query_string"]
    if len(query) > MAX_QUERY:
        raise InvalidRequest("the request is too long")
    return forms.parse(query)


async def _known_client(exchange: Exchange, parameters: forms.Parameters) -> Client:
    if "client_id" in parameters.repeated:
        raise InvalidRequest("client_id came more than once")
    try:
        found = await client_documents.find(exchange, forms.required(parameters, "client_id"))
    except InvalidClientMetadata as error:
        raise InvalidRequest(error.description, detail=error.detail) from error
    if found is None or found[0].disabled:
        raise InvalidRequest("the application that sent you here is not registered (client_id)")
    return found[0]


def _registered_redirect_uri(client: Client, parameters: forms.Parameters) -> str:
    """RFC 9700 §2.1: byte for byte one of the client's, but for the port on a loopback IP."""
    if "redirect_uri" in parameters.repeated:
        raise InvalidRequest("redirect_uri came more than once")
    if "redirect_uri" not in parameters and len(client.redirect_uris) == 1:
        return client.redirect_uris[0]
    uri = forms.required(parameters, "redirect_uri")
    if not redirect_uri.matches(client.redirect_uris, uri):
        raise InvalidRequest("the application that sent you here is not registered at this address (redirect_uri)")
    return uri


def _request(draft: Draft) -> AuthorizationRequest:
    parameters = draft.parameters
    return AuthorizationRequest(
        client_id=draft.client.client_id,
        redirect_uri=draft.redirect_uri,
        redirect_uri_given="redirect_uri" in parameters,
        state="" if "state" in parameters.repeated else parameters.get("state", ""),
        code_challenge=draft.code_challenge,
        resource=draft.resource,
        scope=scope.render(draft.scope),
        ask="consent" in parameters.get("prompt", "").split(" "),
    )


def _refused(exchange: Exchange, draft: Draft, error: OAuthError) -> Response:
    """Back to the client; but through a sign-in first if nobody vouches for it, lest we be anybody's open redirector
    (RFC 9700 §4.11.2).
    """
    request = _request(draft)
    if draft.client.vouched_for:
        return failure(exchange, request, error)
    return to_page(exchange, "/consent", request=replace(request, error=error.as_json()).sealed(exchange))
