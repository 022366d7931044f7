"""RFC 7515 and RFC 7519: signed JWTs, made and judged with the care of RFC 8725, whatever they are for.

A JWT is believed only with a key that the caller has, by the algorithm that belongs to that key. What its claims must
be is for access_token.py and client_assertion.py to say.
"""

import json
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import import_key

from garrison.oauth.errors import InvalidToken, UnknownKey
from garrison.oauth.jwks import SigningKey

MAX_LENGTH = 16_384
"""Characters of a token that are looked at; a longer one is refused unread."""
MAX_HEADER = 8192
"""Characters of a token's header: room for a chain of certificates (x5c), which some issuers send along."""
KEY_TYPES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
"""RFC 7518 §3's asymmetric algorithms, RFC 8037's and RFC 9864's, and the type of key (`kty`) that each goes with."""
KNOWN_ALGORITHMS = frozenset(KEY_TYPES)
"""Every algorithm that may be configured."""
MIN_RSA_BITS = 2048
_FAR_FUTURE = 1e15  # beyond it a float no longer counts seconds exactly


class _Registry(jws.JWSRegistry):
    """joserfc's registry without its warning about the name EdDSA (RFC 9864), which is what issuers still write."""

    max_header_length = MAX_HEADER

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()) or name not in self.algorithms:
            raise UnsupportedAlgorithmError(f"algorithm {name} is not accepted")
        return self.algorithms[name]


_UNVERIFIED = _Registry(algorithms=())
"""Takes a token apart, up to its bounds, and verifies none."""


def sign(key: SigningKey, claims: Mapping[str, Any], *, typ: str) -> str:
    """The compact JWS of `claims` (RFC 7515 §7.1).

    joserfc's parts are put together here: its own way costs a tenth of an RSA signature.

    Raises:
        ValueError: the key's algorithm is not an asymmetric one.
        JoseError: it isn't the key's.
    """
    if key.alg not in KEY_TYPES:
        raise ValueError(f"nothing is signed by {key.alg}")
    signed = f"{_header(typ, key.alg, key.kid)}.{_base64url(msgspec.json.encode(claims))}"
    return f"{signed}.{_base64url(key.signature(signed.encode('ascii')))}"


def verify(
    token: str, keys: Mapping[str, Mapping[str, Any]], algorithms: Sequence[str]
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Header and claims of a token whose signature holds by one of `keys` (RFC 8725 §3.1 to 3.5); no claim is judged.

    Args:
        token: the compact JWS.
        keys: public JWKs by kid. A token without a kid can only be of a key named "".
        algorithms: what the caller accepts, of `KEY_TYPES`.

    Raises:
        UnknownKey: its kid is not among `keys`.
        InvalidToken: anything else is wrong with it.
    """
    signed, header = _unpacked(token)
    alg, kid = header.get("alg"), header.get("kid", "")
    if not isinstance(alg, str) or alg not in algorithms or alg not in KEY_TYPES:
        raise InvalidToken("the token's algorithm is not accepted")
    if not isinstance(kid, str) or (not kid and kid not in keys):
        raise InvalidToken("the token names no key (kid)")
    if kid not in keys:
        raise UnknownKey(kid)
    _check_signature(signed, alg, keys[kid])
    return header, _claims(signed.payload)


def peek_header(token: str) -> Mapping[str, Any]:
    """The header that an unverified token claims: only for choosing among keys that are trusted already.

    Raises:
        InvalidToken: there is none.
    """
    return _unpacked(token)[1]


def peek_claim(token: str, name: str) -> str | None:
    """The text that an unverified token claims as `name`, if any: only for choosing whom to believe about it."""
    try:
        _, payload, _ = token[:MAX_LENGTH].split(".")
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    value = claims.get(name) if isinstance(claims, dict) else None
    return value if isinstance(value, str) else None


def seconds(claims: Mapping[str, Any], name: str) -> float:
    """The NumericDate `name` (RFC 7519 §2).

    Raises:
        InvalidToken: it is missing or something else.
    """
    value = claims.get(name)
    if not is_number(value):
        raise InvalidToken(f"the token lacks a valid {name}")
    return float(value)  # type: ignore[arg-type]  # is_number has looked


def is_number(value: object) -> bool:
    """A finite number; JSON's `true` is an int to Python, and no NumericDate."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR_FUTURE


@lru_cache(maxsize=64)  # one for each key and kind of token
def _header(typ: str, alg: str, kid: str) -> str:
    return _base64url(msgspec.json.encode({"typ": typ, "alg": alg, "kid": kid}))


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _base64url(data: bytes) -> str:
    return b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def _unpacked(token: str) -> tuple[Any, Mapping[str, Any]]:
    if len(token) > MAX_LENGTH or not token.isascii():
        raise InvalidToken("the token is malformed")
    try:
        signed = jws.extract_compact(token.encode("ascii"), registry=_UNVERIFIED)
    except (JoseError, ValueError, KeyError, RecursionError) as error:
        raise InvalidToken("the token is malformed", detail=type(error).__name__) from error
    header: Any = signed.headers()
    if not isinstance(header, dict):
        raise InvalidToken("the token is malformed")
    if "crit" in header or "b64" in header:
        raise InvalidToken("the token asks for an extension that is not known (crit)")
    return signed, header


def _check_signature(signed: Any, alg: str, jwk: Mapping[str, Any]) -> None:
    if jwk.get("kty") != KEY_TYPES[alg] or jwk.get("alg", alg) != alg:
        raise InvalidToken("the token's algorithm is not its key's")
    try:
        key = import_key(dict(jwk))
        if getattr(key.raw_value, "key_size", MIN_RSA_BITS) < MIN_RSA_BITS and alg.startswith(("RS", "PS")):
            raise InvalidToken("the token's key is too short")
        # RFC 7515 §4: header parameters that are not understood are ignored; `crit` was refused above.
        valid = jws.validate_compact(signed, key, registry=_Registry(algorithms=[alg], strict_check_header=False))
    except (JoseError, ValueError, KeyError) as error:
        raise InvalidToken("the token's signature does not verify", detail=type(error).__name__) from error
    if not valid:
        raise InvalidToken("the token's signature does not verify")


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidToken("the token's claims are malformed") from error
    if not isinstance(claims, dict):
        raise InvalidToken("the token's claims are malformed")
    return claims
