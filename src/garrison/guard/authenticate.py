"""RFC 6750: who calls, by the bearer token of the Authorization header; RFC 9068 and RFC 8707: was it meant for us.

A token is verified once and then remembered by its SHA-256 for a minute, so that a busy caller costs no signature each
time, and a key that the issuer takes back is noticed soon.
"""

import hashlib
import hmac
import json
import re
from collections import OrderedDict
from collections.abc import Mapping

from garrison.base.clock import Clock
from garrison.guard.keys import IssuerKeys
from garrison.guard.refusal import NotAuthenticated, Refusal, TokenRefused
from garrison.guard.types import Caller, Request
from garrison.oauth import access_token, challenge
from garrison.oauth.access_token import AccessToken
from garrison.oauth.errors import InvalidToken, UnknownKey

LEEWAY = 30
"""Seconds that the issuer's clock may differ by."""
REMEMBERED_FOR = 60.0
"""Seconds that a verified token is believed without looking at its signature again."""
REMEMBERED_TOKENS = 4096

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
"""RFC 6750 §2.1's b64token; the scheme in any case (RFC 9110 §11.1)."""


class Authenticator:
    """Turns a request into a `Caller`, or refuses it.

    Args:
        keys: the issuers that are believed, by `iss`.
        resource: the audience that a token must have.
        secret: keys the fingerprints.
        metadata_url, scopes: for the challenge (RFC 9728 §5.1).
    """

    def __init__(
        self,
        keys: Mapping[str, IssuerKeys],
        *,
        resource: str,
        secret: bytes,
        metadata_url: str,
        scopes: str,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._resource = resource
        self._fingerprint_key = hmac.digest(secret, b"garrison token fingerprint", "sha256")
        self._metadata_url = metadata_url
        self._scopes = scopes
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    async def __call__(self, request: Request) -> Caller:
        """The caller of `request`.

        Raises:
            NotAuthenticated: it bears no token.
            TokenRefused: the token is no good.
            Refusal: the Authorization header is malformed.
            Unavailable: nobody can tell at the moment.
        """
        token = self._bearer(request)
        digest = hashlib.sha256(token.encode("ascii")).digest()
        if caller := self._recall(digest):
            return caller
        try:
            verified = await self._verify(token)
        except InvalidToken as error:
            reason = f"{error.description} ({error.detail})" if error.detail else error.description
            raise TokenRefused(
                f"The access token was refused: {error.description}.",
                reason=reason,
                headers=self._challenge(error.error, error.description),
            ) from error
        caller = Caller(verified, principal(verified), self._fingerprint(token))
        self._remember(digest, caller)
        return caller

    def _bearer(self, request: Request) -> str:
        header = request.header("authorization")
        if header is None or header.partition(" ")[0].lower() != "bearer":
            # Another scheme is no attempt that we understand: RFC 6750 §3.1 wants no error code then.
            raise NotAuthenticated(
                "An access token is required.", reason="no bearer token", headers=self._challenge(None, None)
            )
        match = _BEARER.fullmatch(header)
        if not match:
            description = "the Authorization header is malformed"
            raise Refusal(f"Not understood: {description}.", headers=self._challenge("invalid_request", description))
        return match.group(1)

    async def _verify(self, token: str) -> AccessToken:
        issuer = access_token.peek_issuer(token)
        if issuer is None or issuer not in self._keys:
            raise InvalidToken("the token is not of an issuer that is believed here")
        keys = self._keys[issuer]
        try:
            return self._judge(token, issuer, await keys.get())
        except UnknownKey as unknown:
            return self._judge(token, issuer, await keys.get(unknown.kid))

    def _judge(self, token: str, issuer: str, keys: Mapping[str, Mapping[str, object]]) -> AccessToken:
        return access_token.verify(
            token, keys, issuer=issuer, audience=self._resource, now=self._clock(), leeway=LEEWAY
        )

    def _recall(self, digest: bytes) -> Caller | None:
        found = self._remembered.get(digest)
        if found is None:
            return None
        until, caller = found
        if not until - REMEMBERED_FOR <= self._clock() < until:
            del self._remembered[digest]
            return None
        self._remembered.move_to_end(digest)
        return caller

    def _remember(self, digest: bytes, caller: Caller) -> None:
        until = min(self._clock() + REMEMBERED_FOR, caller.token.expires_at + LEEWAY)
        self._remembered[digest] = (until, caller)
        if len(self._remembered) > REMEMBERED_TOKENS:
            self._remembered.popitem(last=False)

    def _fingerprint(self, token: str) -> str:
        return hmac.digest(self._fingerprint_key, token.encode("ascii"), "sha256").hex()

    def _challenge(self, error: str | None, description: str | None) -> dict[str, str]:
        rendered = challenge.render(
            error=error, error_description=description, scope=self._scopes or None, resource_metadata=self._metadata_url
        )
        return {"www-authenticate": rendered}


def principal(token: AccessToken) -> str:
    """RFC 9068 §5: a subject is unique only within its issuer; two clients of one user are two principals."""
    names = json.dumps([token.issuer, token.subject, token.client_id]).encode()
    return hashlib.sha256(names).hexdigest()
