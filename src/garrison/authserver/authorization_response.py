"""What goes back to the client through the browser (RFC 6749 §4.1.2), with `iss` on success and error (RFC 9207)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from garrison.authserver import seal
from garrison.authserver.context import Exchange
from garrison.oauth import redirect_uri, scope
from garrison.oauth.errors import OAuthError

SEE_OTHER = 303
"""A 307 would post the password or the decision on to the client (RFC 9700 §4.12)."""


@dataclass(frozen=True)
class AuthorizationRequest:
    """An authorization request that was checked, on its way through sign-in and consent, sealed.

    `ask` means that a remembered consent doesn't do. With `error` set, all that is left to do is to tell the client so,
    once somebody has signed in.
    """

    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    state: str
    code_challenge: str = ""
    resource: str = ""
    scope: str = ""
    ask: bool = False
    error: Mapping[str, str] | None = None

    def sealed(self, exchange: Exchange) -> str:
        return seal.seal(exchange.settings.secret, asdict(self), exchange.now + exchange.settings.sign_in_lifetime)

    @property
    def scopes(self) -> frozenset[str]:
        return scope.parse(self.scope)


def unseal(exchange: Exchange, sealed: str) -> AuthorizationRequest:
    """Raises `InvalidRequest` if it isn't one of ours or is too old."""
    return AuthorizationRequest(**seal.unseal(exchange.settings.secret, sealed, exchange.now))


def success(exchange: Exchange, request: AuthorizationRequest, code: str) -> Response:
    return _to_client(exchange, request, {"code": code})


def failure(exchange: Exchange, request: AuthorizationRequest, error: OAuthError | Mapping[str, str]) -> Response:
    return _to_client(exchange, request, error.as_json() if isinstance(error, OAuthError) else error)


def to_page(exchange: Exchange, page: str, **params: str) -> Response:
    """On to a page of ours."""
    return RedirectResponse(redirect_uri.with_params(exchange.settings.path + page, params), status_code=SEE_OTHER)


def _to_client(exchange: Exchange, request: AuthorizationRequest, params: Mapping[str, Any]) -> Response:
    state = {"state": request.state} if request.state else {}
    answer = {**params, **state, "iss": exchange.settings.issuer}
    return RedirectResponse(redirect_uri.with_params(request.redirect_uri, answer), status_code=SEE_OTHER)
