"""An authenticator in software (WebAuthn §6): makes passkeys and signs with them, and can be told to do it wrong."""

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

ORIGIN, RP_ID = "https://auth.example", "auth.example"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def data(encoded: str) -> bytes:
    return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


@dataclass
class Authenticator:
    """One device with one passkey. `step` is by how much its counter moves at each use."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: os.urandom(16))
    user_handle: bytes = b""
    count: int = 0
    step: int = 1
    flags: int = PRESENT | VERIFIED
    origin: str = ORIGIN
    rp_id: str = RP_ID

    def create(self, options: dict[str, Any]) -> str:
        """The answer to navigator.credentials.create()."""
        self.user_handle = data(options["user"]["id"])
        credential = bytes(16) + len(self.credential_id).to_bytes(2) + self.credential_id + self.public_key()
        attestation = {"fmt": "none", "attStmt": {}, "authData": self._data(self.flags | ATTESTED) + credential}
        client_data = self._client_data("webauthn.create", options)
        return self._answer({"clientDataJSON": client_data, "attestationObject": cbor2.dumps(attestation)})

    def get(self, options: dict[str, Any]) -> str:
        """The answer to navigator.credentials.get()."""
        self.count += self.step
        client_data, authenticator_data = self._client_data("webauthn.get", options), self._data(self.flags)
        signed = authenticator_data + hashlib.sha256(client_data).digest()
        return self._answer(
            {
                "clientDataJSON": client_data,
                "authenticatorData": authenticator_data,
                "signature": self.key.sign(signed, ec.ECDSA(SHA256())),
                "userHandle": self.user_handle,
            }
        )

    def _client_data(self, kind: str, options: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": options["challenge"], "origin": self.origin}).encode()

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)

    def public_key(self) -> bytes:
        """As COSE writes it (RFC 9053)."""
        point = self.key.public_key().public_numbers()
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)})

    def _answer(self, response: dict[str, bytes]) -> str:
        credential = text(self.credential_id)
        encoded = {name: text(value) for name, value in response.items()}
        return json.dumps({"id": credential, "rawId": credential, "type": "public-key", "response": encoded})
