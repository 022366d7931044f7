"""HMACs with the server's secret: sealed requests that travel through the browser, form tokens, hashes and successors.

Every purpose has a key of its own, so that a value made for one can't serve another.
"""

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from garrison.base.ids import random_id
from garrison.oauth.errors import InvalidRequest

_STALE = "This page is out of date. Go back to the application and start again."


def new_secret() -> str:
    """256 random bits in 43 URL-safe characters: codes, refresh tokens, client secrets, session cookies."""
    return secrets.token_urlsafe(32)


def new_id() -> str:
    """128 random bits in 32 hexadecimal digits: names that are unique, and no secret."""
    return random_id()


def hashed(secret: str) -> str:
    """What the store keeps instead of a random secret. It needs no salt and no cost: nobody can guess 256 bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def mac(key: bytes, purpose: str, *parts: str) -> str:
    """43 URL-safe characters that only the holder of `key` can make for `purpose` and `parts`."""
    message = json.dumps([purpose, *parts]).encode()
    return _encode(hmac.digest(key, message, "sha256"))


def same_mac(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())


def seal(key: bytes, payload: Mapping[str, Any], expires_at: float, purpose: str = "seal") -> str:
    """`payload` in a form that the browser carries and can't change; it opens for the same `purpose` alone."""
    body = _encode(json.dumps({**payload, "expires_at": expires_at}).encode())
    return f"{body}.{mac(key, purpose, body)}"


def unseal(key: bytes, sealed: str, now: float, purpose: str = "seal") -> dict[str, Any]:
    """The payload of `seal`.

    Raises:
        InvalidRequest: it is not one of ours for this purpose, or has expired.
    """
    body, _, signature = sealed.partition(".")
    if not same_mac(signature, mac(key, purpose, body)):
        raise InvalidRequest(_STALE)
    payload: dict[str, Any] = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    if payload.pop("expires_at") <= now:
        raise InvalidRequest(_STALE)
    return payload


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
