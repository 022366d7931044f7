"""RFC 6750: who calls, by the bearer token of the Authorization header; RFC 9068 and RFC 8707: was it meant for us.

A token is verified once and then remembered by its SHA-256 for as long as verify.py says, so that a busy caller costs
no signature and no question to the issuer each time, and what the issuer takes back is noticed soon.
"""

import hashlib
import hmac
import json
import re
from collections import OrderedDict
from collections.abc import Mapping

import anyio

from garrison.base.clock import Clock
from garrison.guard.refusal import NotAuthenticated, Refusal, TokenRefused
from garrison.guard.types import Caller, Request
from garrison.guard.verify import IssuerVerifier, Verified
from garrison.oauth import access_token, challenge
from garrison.oauth.access_token import AccessToken
from garrison.oauth.errors import InvalidToken

REMEMBERED_TOKENS = 4096
RENEWED_BEFORE = 1.0
"""Seconds before the end of a stream's lease in which it is renewed, or ends."""

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
"""RFC 6750 §2.1's b64token; the scheme in any case (RFC 9110 §11.1)."""
_USUAL = "Bearer "


class Authenticator:
    """Turns a request into a `Caller`, or refuses it.

    Args:
        issuers: who is believed, by `iss`.
        opaque: who is asked about tokens that are no JWTs.
        secret: keys the fingerprints.
        metadata_url, scopes: for the challenge (RFC 9728 §5.1).
    """

    def __init__(
        self,
        issuers: Mapping[str, IssuerVerifier],
        opaque: IssuerVerifier | None,
        *,
        secret: bytes,
        metadata_url: str,
        scopes: str,
        clock: Clock,
    ) -> None:
        self._issuers = issuers
        self._opaque = opaque
        self._fingerprint_key = hmac.digest(secret, b"garrison token fingerprint", "sha256")
        self._metadata_url = metadata_url
        self._scopes = scopes
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[float, float, Caller]] = OrderedDict()

    async def __call__(self, request: Request) -> Caller:
        """The caller of `request`.

        Raises:
            NotAuthenticated: it bears no token.
            TokenRefused: the token is no good.
            Refusal: the Authorization header is malformed.
            Unavailable: nobody can tell at the moment.
        """
        header = request.headers.get("authorization")
        # What follows the usual spelling was well-formed if it is remembered, and is looked at below if it isn't.
        if header and header.startswith(_USUAL) and (caller := self._recall(_digest(header[len(_USUAL) :]))):
            return caller
        token = self._bearer(header)
        return self._recall(_digest(token)) or await self._admit(token, request.address)

    async def lease(self, request: Request, caller: Caller) -> float:
        """Seconds for which what is open for the caller of `request` may stay open; 0 if it must end.

        What is open is open still while the issuer is asked, so it is asked `RENEWED_BEFORE` the end.
        """
        token = self._bearer(request.headers.get("authorization"))
        issuer, is_jwt = self._issuers[caller.token.issuer], access_token.peek_issuer(token) is not None
        try:
            with anyio.fail_after(RENEWED_BEFORE):
                found = caller.token if is_jwt else None
                verified = await issuer.ask(token, _digest(token), found, request.address, early=RENEWED_BEFORE)
        except (InvalidToken, Refusal, TimeoutError):
            return 0.0
        return max(0.0, verified.until - self._clock() - RENEWED_BEFORE)

    async def _admit(self, token: str, address: str) -> Caller:
        digest = _digest(token)
        try:
            verified = await self._verify(token, digest, address)
        except InvalidToken as error:
            reason = f"{error.description} ({error.detail})" if error.detail else error.description
            raise TokenRefused(
                f"The access token was refused: {error.description}.",
                reason=reason,
                headers=self._challenge(error.error, error.description),
            ) from error
        caller = Caller(verified.token, principal(verified.token), self._fingerprint(token), verified.asked)
        self._remember(digest, verified, caller)
        return caller

    def _bearer(self, header: str | None) -> str:
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

    async def _verify(self, token: str, digest: bytes, address: str) -> Verified:
        issuer = access_token.peek_issuer(token)
        if issuer is None and self._opaque:
            return await self._opaque.verify_opaque(token, digest, address)
        if issuer is None or issuer not in self._issuers:
            raise InvalidToken("the token is not of an issuer that is believed here")
        return await self._issuers[issuer].verify_jwt(token, digest, address)

    def _recall(self, digest: bytes) -> Caller | None:
        found = self._remembered.get(digest)
        if found is None:
            return None
        since, until, caller = found
        if not since <= self._clock() < until:
            del self._remembered[digest]
            return None
        self._remembered.move_to_end(digest)
        return caller

    def _remember(self, digest: bytes, verified: Verified, caller: Caller) -> None:
        self._remembered[digest] = (verified.since, verified.until, caller)
        self._remembered.move_to_end(digest)
        if len(self._remembered) > REMEMBERED_TOKENS:
            self._remembered.popitem(last=False)

    def _fingerprint(self, token: str) -> str:
        return hmac.digest(self._fingerprint_key, token.encode("ascii"), "sha256").hex()

    def _challenge(self, error: str | None, description: str | None) -> dict[str, str]:
        rendered = challenge.render(
            error=error, error_description=description, scope=self._scopes or None, resource_metadata=self._metadata_url
        )
        return {"www-authenticate": rendered}


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def principal(token: AccessToken) -> str:
    """RFC 9068 §5: a subject is unique only within its issuer; two clients of one user are two principals."""
    names = json.dumps([token.issuer, token.subject, token.client_id]).encode()
    return hashlib.sha256(names).hexdigest()
