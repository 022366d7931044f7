"""RFC 7517, RFC 7518 §6, RFC 7638."""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from garrison.oauth import jwks
from garrison.oauth.jwks import SigningKey

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
PUBLIC = {"RS256": {"n", "e"}, "ES256": {"crv", "x", "y"}, "EdDSA": {"crv", "x"}}
# RFC 7638 §3.1
RFC7638_KEY = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3o"
    "knjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qM"
    "QvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKn"
    "qDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
RFC7638_THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.fixture(scope="module")
def keys() -> list[SigningKey]:
    return [jwks.new_signing_key(alg) for alg in PUBLIC]


def thumbprint(jwk: dict[str, Any]) -> str:
    required = {name: jwk[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in jwk}
    digest = sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a_new_keys_kid_is_its_thumbprint(keys: list[SigningKey]) -> None:
    assert thumbprint(RFC7638_KEY) == RFC7638_THUMBPRINT
    assert [key.kid for key in keys] == [thumbprint(key.public()) for key in keys]


def test_the_published_set_has_public_members_alone(keys: list[SigningKey]) -> None:
    published = jwks.public_set(keys)["keys"]
    assert len(published) == 3
    for jwk in published:
        assert set(jwk) == {"kty", "kid", "use", "alg"} | PUBLIC[jwk["alg"]]
        assert jwk["use"] == "sig"


def test_the_published_set_has_no_private_value_under_any_name(keys: list[SigningKey]) -> None:
    secrets = {v for jwk in json.loads(jwks.dump_private(keys))["keys"] for n, v in jwk.items() if n in PRIVATE}
    published = json.dumps(jwks.public_set(jwks.load_private(jwks.dump_private(keys))))
    assert len(secrets) == 8  # RSA's six, EC's one, OKP's one
    assert not [secret for secret in secrets if secret in published]


def test_private_keys_come_back_as_they_were_and_in_order(keys: list[SigningKey]) -> None:
    loaded = jwks.load_private(jwks.dump_private(keys))
    assert [(k.kid, k.alg, k.public()) for k in loaded] == [(k.kid, k.alg, k.public()) for k in keys]
    assert all(key.private.is_private for key in loaded)


def test_a_new_rsa_key_has_2048_bits(keys: list[SigningKey]) -> None:
    raw = keys[0].private.raw_value
    assert isinstance(raw, RSAPrivateKey)
    assert raw.key_size == 2048


@pytest.mark.parametrize("alg", ["none", "HS256", "RS1", ""])
def test_there_is_no_key_for_another_algorithm(alg: str) -> None:
    with pytest.raises(ValueError, match="no signing key"):
        jwks.new_signing_key(alg)


def test_a_symmetric_key_is_never_published() -> None:
    secret = SigningKey("k", OctKey.generate_key(256), "HS256")
    with pytest.raises(ValueError, match="no public half"):
        jwks.public_set([secret])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"keys": 1}',
        '{"keys": ["x"]}',
        '{"keys": [{}]}',
        '{"keys": [{"kty": "RSA", "kid": "a", "alg": "RS256"}]}',
        '{"keys": [{"kty": "new", "kid": "a", "alg": "RS256"}]}',
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "a", "alg": "HS256"}]}',
        json.dumps({"keys": [RFC7638_KEY]}),
    ],
    ids=["empty", "object", "list", "null", "number", "text", "no members", "no n", "kty", "symmetric", "public"],
)
def test_what_is_no_private_key_set_cannot_be_loaded(text: str) -> None:
    with pytest.raises(ValueError, match=r"private JWK Set|no public half|Expecting value"):
        jwks.load_private(text)


def test_published_keys_are_found_by_kid(keys: list[SigningKey]) -> None:
    assert jwks.by_kid(jwks.public_set(keys)) == {key.kid: key.public() for key in keys}


@pytest.mark.parametrize(
    "spoilt",
    [
        {"kid": None},
        {"kid": 1},
        {"kid": ["a"]},
        {"kty": "oct"},
        {"kty": "new"},
        {"kty": []},
        {"kty": None},
        {"use": "enc"},
        {"use": []},
        *({name: "AQAB"} for name in sorted(PRIVATE)),
    ],
    ids=str,
)
def test_a_published_key_that_is_unusable_or_compromised_is_skipped(spoilt: dict[str, Any]) -> None:
    good = {**RFC7638_KEY, "kid": "good"}
    assert list(jwks.by_kid({"keys": [{**RFC7638_KEY, **spoilt}, good, 1]})) == ["good"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("RSA"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["keys", "kid", "kty", "use", "d"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(json_values | st.lists(json_values).map(lambda keys: {"keys": keys}))
def test_any_json_is_read_as_a_key_set_without_an_error(document: Any) -> None:
    assert all(kid == jwk["kid"] for kid, jwk in jwks.by_kid(document).items())
