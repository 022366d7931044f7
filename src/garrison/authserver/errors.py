"""Every error of the authorization server becomes a response here, and nowhere else.

JSON for programs (RFC 6749 §5.2), a page for people. An error that goes back to the client through the browser
(RFC 6749 §4.1.2.1) is no response of ours but a redirect: authorization_response.py.
"""

import logging
import traceback

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from garrison.authserver import pages
from garrison.authserver.context import Exchange
from garrison.authserver.stores.store import StoreUnavailableError
from garrison.base.errors import EventStoreError
from garrison.oauth import challenge
from garrison.oauth.errors import InvalidRequest, InvalidToken, OAuthError, ServerError, TemporarilyUnavailable

logger = logging.getLogger(__name__)

RETRY_AFTER = 5
"""Seconds after which a client may hope that the database or the event store is back."""


def as_oauth_error(error: Exception, correlation_id: str) -> OAuthError:
    """What the wire is told of `error`: nothing, unless it was made for the wire."""
    if isinstance(error, OAuthError):
        return error
    if isinstance(error, ClientDisconnect):
        return InvalidRequest("the request was cut off")
    if isinstance(error, StoreUnavailableError | EventStoreError):
        logger.error("%s (%s)", error, correlation_id)
        unavailable = TemporarilyUnavailable("the server can't do this now; try again soon")
        unavailable.headers = {"Retry-After": str(RETRY_AFTER)}
        return unavailable
    # Where, but not what: the text of an unforeseen error may quote a secret.
    frames = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    logger.error("%s in %s (%s)", type(error).__name__, " > ".join(frames), correlation_id)
    return ServerError(f"an unexpected error, which the server's log knows as {correlation_id}")


def as_json(exchange: Exchange, error: OAuthError) -> Response:
    headers = dict(error.headers)
    if error.status == 401:  # noqa: PLR2004 - RFC 9110 §11.6.1 asks for the challenge with it
        scheme = "Bearer" if isinstance(error, InvalidToken) else "Basic"
        headers["WWW-Authenticate"] = challenge.render(scheme, realm=exchange.settings.issuer)
    return JSONResponse(error.as_json(), status_code=error.status, headers=headers)


def as_page(exchange: Exchange, error: OAuthError) -> Response:
    return pages.page(
        exchange,
        "error.html",
        status=error.status,
        headers=error.headers,
        description=error.description,
        reference=exchange.correlation_id,
    )


def of_http(_request: Request, error: Exception) -> Response:
    """No such path, or no such method there."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    description = {404: "there is no such endpoint", 405: "this endpoint does not know this method"}.get(status, "")
    return JSONResponse(
        {"error": "invalid_request", "error_description": description}, status_code=status, headers=headers
    )
