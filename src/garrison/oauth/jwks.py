"""RFC 7517 key sets: signing keys with RFC 7638 thumbprints as their `kid`, and the public half that is published."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # RFC 7518 §6
RSA_BITS = 2048


@dataclass(frozen=True)
class SigningKey:
    """A private key, the one algorithm it signs with, and the name it is published under."""

    kid: str
    private: Key
    alg: str

    @cached_property
    def signature(self) -> Callable[[bytes], bytes]:
        """Makes the signature of what it is given. Whether the key is one for its algorithm is judged once.

        joserfc judges it at each signature, in thirty calls. What it then does with an RSA key is written down here.

        Raises:
            JoseError: it isn't.
        """
        algorithm: Any = JWSRegistry.algorithms[self.alg]
        algorithm.check_key(self.private)
        if isinstance(self.private, RSAKey):
            native = self.private.get_op_key("sign")
            return partial(native.sign, padding=algorithm.padding, algorithm=algorithm.hash_alg())
        return partial(algorithm.sign, key=self.private)

    def public(self) -> dict[str, Any]:
        """The public JWK (§4): kid, use, alg and the public members, never a private one."""
        members = self.private.as_dict(private=False)
        if _PRIVATE_MEMBERS & members.keys():
            raise ValueError("a symmetric key has no public half")
        return {**members, "kid": self.kid, "use": "sig", "alg": self.alg}


def new_signing_key(alg: str = "RS256") -> SigningKey:
    """A fresh key for `alg`: RS256 (2048 bits), ES256 or EdDSA (Ed25519).

    Raises:
        ValueError: another algorithm.
    """
    private: Key
    if alg == "RS256":
        private = RSAKey.generate_key(RSA_BITS, private=True)
    elif alg == "ES256":
        private = ECKey.generate_key("P-256", private=True)
    elif alg == "EdDSA":
        private = OKPKey.generate_key("Ed25519", private=True)
    else:
        raise ValueError(f"no signing key for algorithm {alg!r}: RS256, ES256 or EdDSA")
    return SigningKey(private.thumbprint(), private, alg)


def dump_private(keys: Iterable[SigningKey]) -> str:
    """The private JWK Set, for a file of mode 0600."""
    return json.dumps({"keys": [{**k.private.as_dict(private=True), "kid": k.kid, "alg": k.alg} for k in keys]})


def load_private(text: str) -> list[SigningKey]:
    """The keys of `dump_private`, in its order; the first one signs.

    Raises:
        ValueError: it isn't a private JWK Set.
    """
    try:
        members = json.loads(text)["keys"]
        keys = [SigningKey(jwk["kid"], import_key(jwk), jwk["alg"]) for jwk in members]
    except (KeyError, TypeError, JoseError) as error:
        raise ValueError("not a private JWK Set") from error
    if not all(key.private.is_private and _usable(key.public()) for key in keys):
        raise ValueError("not a private JWK Set")
    return keys


def public_set(keys: Iterable[SigningKey]) -> dict[str, Any]:
    """The JWK Set document (§5) to publish."""
    return {"keys": [key.public() for key in keys]}


def by_kid(document: Any) -> dict[str, dict[str, Any]]:
    """The usable signing keys of a published JWK Set, by kid.

    Skipped (§5 lets a reader ignore what it does not understand): keys without a kid, of symmetric type, not for
    signatures, or carrying private members. Empty if the document is no key set at all.
    """
    return {jwk["kid"]: jwk for jwk in usable(document) if _usable(jwk)}


def usable(document: Any) -> list[dict[str, Any]]:
    """The same keys, and those without a kid too."""
    keys = document.get("keys") if isinstance(document, dict) else None
    return [jwk for jwk in keys if isinstance(jwk, dict) and _for_signatures(jwk)] if isinstance(keys, list) else []


def is_secret(jwk: dict[str, Any]) -> bool:
    """Whether `jwk` is symmetric or carries private members."""
    return jwk.get("kty") == "oct" or bool(_PRIVATE_MEMBERS & jwk.keys())


def _usable(jwk: dict[str, Any]) -> bool:
    return isinstance(jwk.get("kid"), str) and _for_signatures(jwk)


def _for_signatures(jwk: dict[str, Any]) -> bool:
    return (
        jwk.get("kty") in ("RSA", "EC", "OKP")  # no set: a stranger may send what can't be hashed
        and jwk.get("use", "sig") == "sig"
        and not _PRIVATE_MEMBERS & jwk.keys()
    )
