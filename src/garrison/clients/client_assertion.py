"""RFC 7523 §2.2, §3: a client proves itself by a JWT that it signs with its private key (`private_key_jwt`)."""

import json
import secrets
import stat
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from garrison.base.errors import UsageError
from garrison.clients.errors import AuthorizationFailed
from garrison.oauth import signed_jwt
from garrison.oauth.client_assertion import TYPE
from garrison.oauth.jwks import RSA_BITS, SigningKey
from garrison.oauth.server_metadata import ServerMetadata

LIFETIME = 60
"""Seconds; an assertion is made for one request."""
_CURVES = {"P-256": "ES256", "Ed25519": "EdDSA"}


def parameters(client_id: str, key: SigningKey, server: ServerMetadata, now: float) -> dict[str, str]:
    """The two form parameters of §2.2, for `server` alone: its issuer is the only audience (rfc7523bis draft).

    Raises:
        AuthorizationFailed: the server doesn't take the key's algorithm.
    """
    taken = server.document.get("token_endpoint_auth_signing_alg_values_supported")
    if isinstance(taken, list) and key.alg not in taken:
        raise AuthorizationFailed(f"{server.issuer} takes no assertion signed with {key.alg}", "Use another key.")
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": server.issuer,
        "iat": int(now),
        "exp": int(now) + LIFETIME,
        "jti": secrets.token_urlsafe(16),
    }
    return {"client_assertion_type": TYPE, "client_assertion": signed_jwt.sign(key, claims, typ="JWT")}


def read_key(path: Path) -> SigningKey:
    """The private key in `path`: PEM or a JWK; its `kid` is the JWK's own, or the RFC 7638 thumbprint.

    Raises:
        UsageError: there is none, others may read it, or it is of a kind that isn't used: RSA of 2048 bits or more,
            P-256 and Ed25519 are.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"{path} is open to others", f"chmod 600 {path}")
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {getattr(error, 'strerror', None) or 'not text'}") from error
    return parse_key(text, str(path))


def parse_key(text: str, named: str) -> SigningKey:
    """As `read_key`, for the content of a file that is called `named` in errors."""
    try:
        key = import_key(json.loads(text)) if text.lstrip().startswith("{") else _from_pem(text)
        if not key.is_private:
            raise UsageError(f"{named} holds no private key")
        return SigningKey(str(key.as_dict(private=False).get("kid") or key.thumbprint()), key, _algorithm(key, named))
    except (JoseError, ValueError, KeyError, TypeError) as error:
        # Not its text: some errors quote what they couldn't read.
        raise UsageError(f"{named} holds no key that can be read", "It must be PEM (PKCS#8) or a JWK.") from error


def _from_pem(text: str) -> Key:
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            return kind.import_key(text)
        except (JoseError, ValueError, TypeError):
            continue
    raise ValueError("not a PEM key")


def _algorithm(key: Key, named: str) -> str:
    if isinstance(key, RSAKey) and key.raw_value.key_size >= RSA_BITS:
        return "RS256"
    curve = str(key.as_dict(private=False).get("crv", ""))
    if curve not in _CURVES:
        raise UsageError(
            f"{named} holds a key of a kind that is not used here", "RSA (2048 bits), P-256 or Ed25519 are."
        )
    return _CURVES[curve]
