"""RFC 6749 §4.1 with PKCE (RFC 7636), resource (RFC 8707) and iss (RFC 9207): authorization request and response."""

import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from garrison.clients.errors import AuthorizationFailed, StrayAnswer, TokenRefused
from garrison.oauth import pkce, redirect_uri
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.server_metadata import ServerMetadata


@dataclass(frozen=True)
class AuthorizationRequest:
    """One request that waits for its answer; `url` is for the user's browser."""

    url: str = field(repr=False)
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


def authorization_request(
    server: ServerMetadata, *, client_id: str, redirect: str, resource: str, scopes: frozenset[str]
) -> AuthorizationRequest:
    """A new request to `server`, with a state and a code_verifier of its own.

    Raises:
        AuthorizationFailed: the server has no authorization endpoint, or doesn't say that it checks PKCE by S256: the
            MCP specification forbids to go on without.
    """
    if not server.authorization_endpoint:
        raise AuthorizationFailed(f"{server.issuer} has no authorization endpoint: nobody can log in there")
    if pkce.METHOD not in server.code_challenge_methods:
        raise AuthorizationFailed(
            f"{server.issuer} does not announce PKCE with S256, without which a code could be stolen",
            "Its operator must support it and say so in code_challenge_methods_supported.",
        )
    state, verifier = secrets.token_urlsafe(32), pkce.new_verifier()
    params = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect,
        "state": state,
        "code_challenge": pkce.challenge_s256(verifier),
        "code_challenge_method": pkce.METHOD,
    }
    if resource:  # RFC 8707 §2.1; the user may have said to omit it
        params["resource"] = resource
    if scopes:
        params["scope"] = scope_rfc6749.render(scopes)
    return AuthorizationRequest(
        redirect_uri.with_params(server.authorization_endpoint, params), redirect, state, verifier
    )


def check_mix_up(server: ServerMetadata) -> None:
    """RFC 9700 §4.4, for a client that other servers know by the same id and redirect URI.

    Metadata of a malicious server can name another's authorization endpoint beside its own token endpoint, which then
    gets the other's code. Where the answer says who answers (iss), that shows; elsewhere the two must be one server's.

    Raises:
        AuthorizationFailed: they are not.
    """
    if server.iss_parameter_supported:
        return
    asked, issuer = urlsplit(server.authorization_endpoint), urlsplit(server.issuer)
    if (asked.scheme, asked.netloc) != (issuer.scheme, issuer.netloc):
        raise AuthorizationFailed(
            f"{server.issuer} sends its users to {asked.netloc} to log in, and does not say who answers (RFC 9207)",
            f"If that is right, name it: issuer (--issuer {server.issuer}, OAUTH_ISSUER_URL).",
        )


def process_authorization_response(query: str, request: AuthorizationRequest, server: ServerMetadata) -> str:
    """The code in `query`, if it answers `request` and comes from `server`.

    Raises:
        StrayAnswer: it answers another request: anybody can have sent it.
        AuthorizationFailed: it comes from another server, or has no code.
        TokenRefused: the server, or the user, said no.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise StrayAnswer("the login's answer can't be read") from error
    params = dict(pairs)
    if not hmac.compare_digest(params.get("state", "").encode(), request.state.encode()):
        raise StrayAnswer("the login's answer belongs to another request (state)", "Try to log in again.")
    if len(params) != len(pairs):
        raise AuthorizationFailed("the login's answer repeats a parameter")
    _check_issuer(params.get("iss"), server)
    if "error" in params:
        raise TokenRefused(params["error"], params.get("error_description", ""))
    if not params.get("code"):
        raise AuthorizationFailed("the login's answer has no code", "Try to log in again.")
    return params["code"]


def _check_issuer(iss: str | None, server: ServerMetadata) -> None:
    """RFC 9207 §2.4: an answer of another server than the one we asked is a mix-up attack, errors included."""
    if iss is None and not server.iss_parameter_supported:
        return
    if iss != server.issuer:
        raise AuthorizationFailed(
            "the login's answer comes from another authorization server (iss)",
            f"Only log in at {server.issuer}.",
        )
