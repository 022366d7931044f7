"""The external OpenID Connect provider, asked over the guarded fetcher: metadata, keys, tokens for a code, claims.

Its metadata is kept for a while; one fetch at a time serves all who wait, and none starts within `RETRY_AFTER` of one
that failed, so that strangers on the sign-in page can't make us ask more often.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from garrison.authserver.client_keys import ClientKeys
from garrison.authserver.federation.errors import RETRY_AFTER, BadAnswer, ProviderUnavailable
from garrison.authserver.federation.settings import IdentityProvider
from garrison.base.clock import Clock
from garrison.base.errors import FetchError
from garrison.base.fetch import Fetched, Fetcher, check_url
from garrison.oauth import basic, id_token, redirect_uri, server_metadata, signed_jwt
from garrison.oauth.errors import InvalidClient, InvalidToken, MetadataError
from garrison.oauth.id_token import IdToken
from garrison.oauth.server_metadata import ServerMetadata

MAX_AGE = 300.0
"""Seconds that metadata is kept."""
_OK = 200
_SERVER_ERROR = 500
_ERROR_CODE = re.compile(r"[a-z_]{1,64}")
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")  # RFC 6750 §2.1's b64token


@dataclass(frozen=True)
class Tokens:
    """What a code was redeemed for; the access token is for userinfo alone, and may be of any shape."""

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)


class Provider:
    """One provider as this process knows it."""

    def __init__(self, settings: IdentityProvider, fetcher: Fetcher, clock: Clock) -> None:
        self.settings = settings
        self._fetcher = fetcher
        self._clock = clock
        self._keys = ClientKeys(fetcher, clock)
        self._lock = anyio.Lock()
        self._metadata: ServerMetadata | None = None
        self._fetched_at = self._failed_at = -math.inf

    async def aclose(self) -> None:
        await self._fetcher.aclose()

    async def metadata(self) -> ServerMetadata:
        """Its metadata (OpenID Connect Discovery §4), of exactly the configured issuer.

        Raises:
            ProviderUnavailable: it can't be had, or not be believed.
        """
        async with self._lock:
            if self._metadata is None or not self._within(self._fetched_at, MAX_AGE):
                self._metadata = await self._discovered()
                self._fetched_at = self._clock()
            return self._metadata

    async def redeem(self, code: str, *, verifier: str, return_address: str) -> Tokens:
        """OpenID Connect Core §3.1.3: the tokens for `code`.

        Raises:
            ProviderUnavailable: it does not answer.
            BadAnswer: it refuses, or its answer has no tokens.
        """
        metadata = await self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": return_address,
            "code_verifier": verifier,
        }
        sent, headers = self._authenticated(form, metadata)
        answer = _answered(await self._asked(self._fetcher.post_form(metadata.token_endpoint, sent, headers=headers)))
        if answer.status != _OK:
            raise BadAnswer(f"the token endpoint answered {answer.status} ({_error_code(answer)})")
        return _tokens(_json(answer))

    async def verified(self, token: str, *, nonce: str, now: float) -> IdToken:
        """The ID token, with the provider's keys.

        Raises:
            ProviderUnavailable: its keys can't be had.
            BadAnswer: the token is no good.
        """
        try:
            kid = signed_jwt.peek_header(token).get("kid", "")
            keys = await self._keys.get((await self.metadata()).jwks_uri, kid if isinstance(kid, str) else "")
            mine = self.settings
            return id_token.verify(token, keys, issuer=mine.issuer, client_id=mine.client_id, nonce=nonce, now=now)
        except InvalidClient as error:
            raise ProviderUnavailable("its keys can't be fetched") from error
        except InvalidToken as error:
            raise BadAnswer(f"ID token: {error.description}") from error

    async def userinfo(self, access_token: str, subject: str) -> Mapping[str, Any]:
        """What the provider says about `subject` beside the ID token (OpenID Connect Core §5.3); nothing, if it has no
        such endpoint.

        Raises:
            ProviderUnavailable: it does not answer.
            BadAnswer: it answers with something else, or about somebody else.
        """
        endpoint = _endpoint(await self.metadata(), "userinfo_endpoint")
        if not endpoint:
            return {}
        headers = {"authorization": f"Bearer {access_token}"}
        answer = _answered(await self._asked(self._fetcher.request("GET", endpoint, headers=headers)))
        claims = _json(answer)
        if answer.status != _OK or not isinstance(claims, dict):
            raise BadAnswer(f"userinfo answered {answer.status}")
        if claims.get("sub") != subject:
            raise BadAnswer("userinfo is about somebody else (sub)")
        return claims

    async def sign_out_address(self) -> str:
        """Where a person can end their session there (OpenID Connect RP-Initiated Logout §2); empty if nobody knows.

        No ID token goes along, for none is kept: the provider asks the person whether they mean it.
        """
        try:
            endpoint = _endpoint(await self.metadata(), "end_session_endpoint")
        except ProviderUnavailable:
            return ""
        return redirect_uri.with_params(endpoint, {"client_id": self.settings.client_id}) if endpoint else ""

    def _authenticated(
        self, form: Mapping[str, str], metadata: ServerMetadata
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Form and headers with our credentials: Basic unless it takes them in the form alone (RFC 6749 §2.3.1)."""
        mine, methods = self.settings, metadata.token_endpoint_auth_methods
        if mine.client_secret is None:
            return {**form, "client_id": mine.client_id}, {}
        if "client_secret_basic" in methods or "client_secret_post" not in methods:
            return form, {"authorization": basic.render_basic(mine.client_id, mine.client_secret)}
        return {**form, "client_id": mine.client_id, "client_secret": mine.client_secret}, {}

    async def _discovered(self) -> ServerMetadata:
        if self._within(self._failed_at, RETRY_AFTER):
            raise ProviderUnavailable("its metadata could not be had a moment ago")
        self._failed_at = self._clock()
        try:
            # Shielded: whoever waits with the one for whom it began must not wait for nothing if that one goes away.
            with anyio.CancelScope(shield=True):
                document = await self._fetcher.get_json(_well_known(self.settings.issuer))
            metadata = _checked(server_metadata.check(document, self.settings.issuer))
        except (FetchError, MetadataError) as error:
            raise ProviderUnavailable(error.message) from error
        self._failed_at = -math.inf
        return metadata

    async def _asked(self, fetch: Any) -> Fetched:
        try:
            answer: Fetched = await fetch
        except FetchError as error:
            raise ProviderUnavailable(error.message) from error
        return answer

    def _within(self, since: float, seconds: float) -> bool:
        """A clock that was set back must not make anything look new for longer."""
        return 0 <= self._clock() - since < seconds


def _well_known(issuer: str) -> str:
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def _checked(metadata: ServerMetadata) -> ServerMetadata:
    """Its endpoints are addresses that a browser and we may be sent to: https, or http on loopback."""
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        if not _endpoint(metadata, name):
            raise MetadataError(f"the identity provider's metadata has no {name}")
    for name in ("userinfo_endpoint", "end_session_endpoint"):
        _endpoint(metadata, name)
    return metadata


def _endpoint(metadata: ServerMetadata, name: str) -> str:
    """Raises `MetadataError`, or `FetchError` if it is no address that may be asked."""
    url = metadata.document.get(name) or ""
    if not isinstance(url, str):
        raise MetadataError(f"the metadata's {name} is not a string")
    if url:
        check_url(url)
    return url


def _answered(answer: Fetched) -> Fetched:
    if answer.status >= _SERVER_ERROR:
        raise ProviderUnavailable(f"it answered {answer.status}")
    return answer


def _json(answer: Fetched) -> Any:
    try:
        return answer.json()
    except FetchError as error:
        raise BadAnswer("its answer is not JSON") from error


def _error_code(answer: Fetched) -> str:
    """The code alone: a description may quote what was sent."""
    try:
        code = answer.json().get("error")
    except (FetchError, AttributeError):
        code = None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else "no error code"


def _tokens(document: Any) -> Tokens:
    if not isinstance(document, dict) or str(document.get("token_type", "")).lower() != "bearer":
        raise BadAnswer("the token endpoint's answer is not a Bearer token")
    token, access_token = document.get("id_token"), document.get("access_token")
    if not isinstance(token, str) or not isinstance(access_token, str) or not _BEARER_TOKEN.fullmatch(access_token):
        raise BadAnswer("the token endpoint's answer lacks id_token or access_token")
    return Tokens(token, access_token)
