"""JWTs as other programs make them: ours would not write what a hostile one may hold."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from garrison.oauth import signed_jwt
from garrison.oauth.jwks import SigningKey


def foreign_jwt(key: SigningKey, claims: Mapping[str, Any], *, typ: str) -> str:
    """The compact JWS of whatever Python's json writes, NaN and half a surrogate pair too."""
    header = {"alg": key.alg, "kid": key.kid, "typ": typ}
    signed = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
    signature = signed_jwt._Registry.algorithms[key.alg].sign(signed, key.private)
    return b".".join((signed, _base64url(signature))).decode()


def _base64url(text: bytes) -> bytes:
    return urlsafe_b64encode(text).rstrip(b"=")
