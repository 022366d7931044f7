"""RFC 9068 §4 on the client's side: a token that doesn't verify is not used, whoever handed it over.

The access token is checked as its resource server will check it: signature by the issuer's published key, type, issuer,
audience, time. That finds a wrong issuer, resource or clock here, where it can be explained, and keeps a forged token
out. Only a token that isn't a JWT at all is taken as opaque (RFC 6749 §1.4): nobody but its issuer can judge that.

Products write their tokens in shapes of their own, and for an audience of their own. Both count only for the issuer
whose they are said to be; every other token must be RFC 9068's, for this resource.
"""

import json
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Any

from garrison.base.clock import Clock
from garrison.base.errors import FetchError
from garrison.base.fetch import Fetcher
from garrison.clients.discovery import Found
from garrison.clients.errors import AuthorizationFailed
from garrison.clients.token_request import TokenResponse
from garrison.clients.tokens import Token, renewal_time
from garrison.oauth import access_token, jwks
from garrison.oauth.access_token import AccessToken
from garrison.oauth.errors import InvalidToken, UnknownKey
from garrison.oauth.issuer_shapes import IssuerShape

_JWS_PARTS = 3


def is_jwt(token: str) -> bool:
    """Whether `token` is meant to be a signed JWT: three parts, of which the first is a JSON object."""
    parts = token.split(".")
    if len(parts) != _JWS_PARTS:
        return False
    try:
        header = json.loads(urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (Base64Error, ValueError, RecursionError):
        return False
    return isinstance(header, dict)


class Verifier:
    """Verifies tokens against their issuer's published keys, which it keeps.

    Args:
        fetcher: gets the keys.
        clock: seconds since the epoch.
        check_url: refuses addresses that the keys must not be at.
        shape: how the issuer writes its tokens.
        audience: what they must be for; by default the resource.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        clock: Clock,
        check_url: Callable[[str, str], str],
        shape: IssuerShape,
        audience: str | None = None,
    ) -> None:
        self._shape = shape
        self._audience = audience
        self._fetcher = fetcher
        self._clock = clock
        self._check_url = check_url
        self._keys: Mapping[str, dict[str, Any]] = {}
        self._keys_of = ""

    async def verify(self, found: Found, client_id: str, response: TokenResponse, asked: frozenset[str]) -> Token:
        """The token of `response`, verified.

        `asked` are the request's scopes; a response that names none grants them (RFC 6749 §5.1).

        Raises:
            AuthorizationFailed: it is a JWT, and not a good one.
            FetchError: the issuer's keys can't be had.
        """
        now = self._clock()
        scopes = asked if response.scopes is None else response.scopes
        expires_at = None if response.lifetime is None else now + response.lifetime
        subject = ""
        if is_jwt(response.access_token):
            claims = await self._verified(found, response.access_token)
            if claims.client_id != client_id:
                raise AuthorizationFailed("the access token was issued to another client")
            scopes, subject = self._shape.granted(claims.scopes, asked), claims.subject
            expires_at = min(claims.expires_at, expires_at or claims.expires_at)
        renew_at = None if expires_at is None else renewal_time(now, expires_at)
        return Token(response.access_token, scopes, expires_at, renew_at, response.refresh_token, subject)

    async def _verified(self, found: Found, token: str) -> AccessToken:
        keys = await self._issuer_keys(found)
        try:
            try:
                return self._judge(found, token, keys)
            except UnknownKey:  # the issuer may have changed its key since we looked
                return self._judge(found, token, await self._issuer_keys(found, again=True))
        except InvalidToken as error:
            raise AuthorizationFailed(
                f"the access token from {found.server.issuer} does not verify: {error.description}",
                "Do not use this authorization server before its operator has explained that. (Where it is Keycloak, "
                "Entra, Auth0 or Okta, say so: issuer_shape, --issuer-shape.)",
            ) from error

    def _judge(self, found: Found, token: str, keys: Mapping[str, dict[str, Any]]) -> AccessToken:
        return access_token.verify(
            token,
            keys,
            issuer=found.server.issuer,
            audience=self._audience or found.resource.resource,
            now=self._clock(),
            algorithms=self._shape.algorithms,
            shape=self._shape.tokens,
        )

    async def _issuer_keys(self, found: Found, *, again: bool = False) -> Mapping[str, dict[str, Any]]:
        uri = found.server.jwks_uri
        if not uri:
            raise AuthorizationFailed(f"{found.server.issuer} publishes no keys to verify its tokens with (jwks_uri)")
        if again or self._keys_of != uri:
            self._check_url(uri, "jwks_uri")
            self._keys = jwks.by_kid(await self._fetcher.get_json(uri))
            self._keys_of = uri
        if not self._keys:
            raise FetchError(f"{uri} holds no usable keys")
        return self._keys
