"""The OAuth error codes that travel (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1, RFC 7591 §3.2.2,
RFC 8707 §2, OpenID).

OAuthError
├── InvalidRequest, InvalidClient, InvalidGrant, UnauthorizedClient, UnsupportedGrantType, InvalidScope,
│   InvalidTarget, AccessDenied, UnsupportedResponseType, ServerError, TemporarilyUnavailable,
│   UnsupportedTokenType, LoginRequired, ConsentRequired, InvalidRedirectUri, InvalidClientMetadata
├── InvalidToken            a bearer token that is no good
│   └── UnknownKey          … because its key is not (yet) known: worth one look at the issuer's keys
└── InsufficientScope       a good token that may not do this

MetadataError               a well-known document that can't be believed (not an answer to anybody)
"""

from collections.abc import Mapping

from garrison.base.errors import GarrisonError


class OAuthError(Exception):
    """One error code of the wire.

    Args:
        description: public, becomes `error_description`; ASCII without quotes or backslashes (RFC 6749 §5.2).
        detail: private, for events; never sent.
    """

    error = "server_error"
    status = 400

    def __init__(self, description: str, *, detail: str = "") -> None:
        super().__init__(description)
        self.description = "".join(c for c in description if " " <= c <= "~" and c not in '"\\')
        self.detail = detail
        self.headers: Mapping[str, str] = {}

    def as_json(self) -> dict[str, str]:
        return {"error": self.error, "error_description": self.description}


class InvalidRequest(OAuthError):
    error = "invalid_request"


class InvalidClient(OAuthError):
    error = "invalid_client"
    status = 401


class InvalidGrant(OAuthError):
    error = "invalid_grant"


class UnauthorizedClient(OAuthError):
    error = "unauthorized_client"


class UnsupportedGrantType(OAuthError):
    error = "unsupported_grant_type"


class InvalidScope(OAuthError):
    error = "invalid_scope"


class InvalidTarget(OAuthError):
    error = "invalid_target"


class AccessDenied(OAuthError):
    error = "access_denied"
    status = 403


class UnsupportedResponseType(OAuthError):
    error = "unsupported_response_type"


class ServerError(OAuthError):
    error = "server_error"
    status = 500


class TemporarilyUnavailable(OAuthError):
    error = "temporarily_unavailable"
    status = 503


class UnsupportedTokenType(OAuthError):
    error = "unsupported_token_type"


class LoginRequired(OAuthError):
    error = "login_required"


class ConsentRequired(OAuthError):
    error = "consent_required"


class InvalidRedirectUri(OAuthError):
    error = "invalid_redirect_uri"


class InvalidClientMetadata(OAuthError):
    error = "invalid_client_metadata"


class InvalidToken(OAuthError):
    error = "invalid_token"
    status = 401


class UnknownKey(InvalidToken):
    """The token names a key that is not among those given; `kid` is what it named."""

    def __init__(self, kid: str) -> None:
        super().__init__("the token's key is not known", detail=f"kid {kid[:64]}")
        self.kid = kid


class InsufficientScope(OAuthError):
    """The token is good, but this needs `scope`, all of it."""

    error = "insufficient_scope"
    status = 403

    def __init__(self, scope: tuple[str, ...], description: str = "this operation needs more scope") -> None:
        super().__init__(description)
        self.scope = scope


class MetadataError(GarrisonError):
    """A well-known document is missing, malformed, or names somebody else."""
