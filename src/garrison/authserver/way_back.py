"""An error that the user had no part in, on its way to the client: by a redirect only where the operator has said where
that leads (RFC 9700 §4.11.2), else by a link that the user may follow.

Whoever describes their own client could otherwise make a faulty link to us lead wherever they like.
"""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from garrison.authserver import pages
from garrison.authserver.authorization_response import AuthorizationRequest, failure
from garrison.authserver.context import Exchange
from garrison.authserver.records import Client
from garrison.oauth.errors import OAuthError


def answer(
    exchange: Exchange, request: AuthorizationRequest, client: Client, error: OAuthError | Mapping[str, Any]
) -> Response:
    redirect = failure(exchange, request, error)
    if client.source == "operator":
        return redirect
    told = error.as_json() if isinstance(error, OAuthError) else error
    return pages.page(
        exchange,
        "not_redirected.html",
        status=400,
        client=client.name,
        client_host=pages.client_host(client.client_id) if client.source == "document" else "",
        reason=told["error_description"],
        redirect_host=pages.redirect_host(request.redirect_uri),
        back=redirect.headers["location"],
    )
