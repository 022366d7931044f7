"""What is signed here is a JWS that another library reads, by an asymmetric algorithm and its own key."""

import json

import pytest
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from garrison.oauth import jwks, signed_jwt
from garrison.oauth.jwks import SigningKey

CLAIMS = {"sub": "ä", "n": 1.5, "list": ["a"]}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # the name that issuers still write
@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_another_library_reads_what_was_signed(alg: str) -> None:
    key = jwks.new_signing_key(alg)
    token = signed_jwt.sign(key, CLAIMS, typ="at+jwt")
    read = jws.deserialize_compact(token, key.private, registry=jws.JWSRegistry(algorithms=[alg]))
    assert read.headers() == {"typ": "at+jwt", "alg": alg, "kid": key.kid}
    assert json.loads(read.payload) == CLAIMS


@pytest.mark.parametrize("alg", ["HS256", "none"])
def test_nothing_is_signed_by_an_algorithm_whose_key_is_no_pair(alg: str) -> None:
    with pytest.raises(ValueError, match="nothing is signed"):
        signed_jwt.sign(SigningKey("k", OctKey.generate_key(256), alg), CLAIMS, typ="JWT")


def test_a_key_signs_by_its_own_algorithm_alone() -> None:
    with pytest.raises(JoseError):
        signed_jwt.sign(SigningKey("k", jwks.new_signing_key("ES256").private, "RS256"), CLAIMS, typ="JWT")
