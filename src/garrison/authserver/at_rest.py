"""Encryption at rest: what the database keeps sealed with the server's secret, a copy of the database doesn't tell.

Every purpose has a key of its own (HKDF, RFC 5869), and what is sealed opens under the name that it was sealed for.
"""

import os
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SIGNING_KEYS = "garrison signing keys"
TOTP_SECRETS = "garrison totp secrets"

_NONCE_BYTES = 12


def encrypted(secret: bytes, purpose: str, name: str, data: bytes) -> str:
    """AES-256-GCM with `name` as associated data: one row can't be put in another's place."""
    nonce = os.urandom(_NONCE_BYTES)
    return b64encode(nonce + _cipher(secret, purpose).encrypt(nonce, data, name.encode())).decode()


def decrypted(secret: bytes, purpose: str, name: str, sealed: str) -> bytes:
    """Raises `ValueError` if it was not sealed with `secret`, or for another purpose or name."""
    data = b64decode(sealed, validate=True)
    try:
        return _cipher(secret, purpose).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], name.encode())
    except InvalidTag:
        raise ValueError("sealed with another secret, or for something else") from None


def _cipher(secret: bytes, purpose: str) -> AESGCM:
    return AESGCM(HKDF(hashes.SHA256(), 32, salt=None, info=purpose.encode()).derive(secret))
