"""RFC 9068 §4, RFC 7519 §4 and §7.2, RFC 8725 §3: which tokens are accepted, and by what each other one is refused.

Tokens are signed here with `cryptography` alone, so that issuer and judge can't agree on an error of theirs.
The file is long because most of it is data: one line for each way to be wrong.
"""

import dataclasses
import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from garrison.oauth import access_token, jwks
from garrison.oauth.access_token import AccessToken, issue, peek_issuer, verify
from garrison.oauth.errors import InvalidToken, UnknownKey
from garrison.oauth.jwks import SigningKey

ISSUER, AUDIENCE, NOW = "https://as.example", "https://mcp.example/mcp", 1_800_000_000
CLAIMS: Mapping[str, Any] = {
    "iss": ISSUER,
    "sub": "user-1",
    "client_id": "client-1",
    "aud": AUDIENCE,
    "scope": "a b",
    "iat": NOW,
    "exp": NOW + 600,
    "jti": "jti-1",
}
ABSENT = object()
ALGORITHMS = ("RS256", "ES256", "EdDSA")
Keys = dict[str, SigningKey]


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> Any:
    return json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def raw_signature(private: Any, message: bytes) -> bytes:
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(message, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(private, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
        size = (private.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    assert isinstance(private, Ed25519PrivateKey)
    return private.sign(message)


def sign(key: SigningKey, claims: Mapping[str, Any] | bytes = CLAIMS, **header: Any) -> str:
    """A token of `key`; a header parameter or claim that is ABSENT is left out."""
    whole = {"typ": "at+jwt", "alg": key.alg, "kid": key.kid, **header}
    head = json.dumps({name: value for name, value in whole.items() if value is not ABSENT}).encode()
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    message = f"{b64(head)}.{b64(payload)}"
    return f"{message}.{b64(raw_signature(key.private.raw_value, message.encode()))}"


def claims(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ABSENT}


def payload(name: str, text: str) -> bytes:
    """The claims with `name` written as `text`, which need not be what Python would write."""
    return json.dumps(claims(**{name: "HERE"})).replace('"HERE"', text).encode()


def judge(token: str, keys: Mapping[str, Mapping[str, Any]], **options: Any) -> AccessToken:
    return verify(token, keys, **{"issuer": ISSUER, "audience": AUDIENCE, "now": float(NOW), **options})


@pytest.fixture(scope="module")
def signing() -> Keys:
    return {alg: jwks.new_signing_key(alg) for alg in ALGORITHMS}


@pytest.fixture(scope="module")
def published(signing: Keys) -> dict[str, dict[str, Any]]:
    return jwks.by_kid(jwks.public_set(signing.values()))


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_an_issued_token_is_accepted_and_read(alg: str, signing: Keys, published: dict[str, Any]) -> None:
    token = issue(
        signing[alg],
        issuer=ISSUER,
        subject="user-1",
        client_id="client-1",
        audience=AUDIENCE,
        scope=["b", "a"],
        now=NOW + 0.9,
        lifetime=600,
        jti="jti-1",
    )
    assert unb64(token.split(".")[0]) == {"typ": "at+jwt", "alg": alg, "kid": signing[alg].kid}
    assert unb64(token.split(".")[1]) == CLAIMS
    assert judge(token, published) == AccessToken(
        issuer=ISSUER,
        subject="user-1",
        client_id="client-1",
        audience=(AUDIENCE,),
        scopes=frozenset({"a", "b"}),
        issued_at=NOW,
        expires_at=NOW + 600,
        jti="jti-1",
        claims=CLAIMS,
    )


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_token_signed_elsewhere_is_accepted(alg: str, signing: Keys, published: dict[str, Any]) -> None:
    assert judge(sign(signing[alg]), published).subject == "user-1"


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "Application/AT+JWT"])
def test_the_type_is_at_jwt_with_or_without_application(typ: str, signing: Keys, published: dict[str, Any]) -> None:
    judge(sign(signing["ES256"], typ=typ), published)


def test_an_audience_may_be_one_of_several(signing: Keys, published: dict[str, Any]) -> None:
    token = sign(signing["ES256"], claims(aud=["https://other.example", AUDIENCE]))
    assert judge(token, published).audience == ("https://other.example", AUDIENCE)


def test_a_token_without_scope_has_none(signing: Keys, published: dict[str, Any]) -> None:
    assert judge(sign(signing["ES256"], claims(scope=ABSENT)), published).scopes == frozenset()


def test_a_header_parameter_that_is_not_understood_is_ignored(signing: Keys, published: dict[str, Any]) -> None:
    """RFC 7515 §4."""
    judge(sign(signing["ES256"], nonce="x", x=[1]), published)


def test_claims_that_are_not_understood_are_ignored_and_kept(signing: Keys, published: dict[str, Any]) -> None:
    assert judge(sign(signing["ES256"], claims(tenant="t")), published).claims["tenant"] == "t"


REFUSED_CLAIMS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no iss": ({"iss": ABSENT}, "another issuer"),
    "iss with a trailing slash": ({"iss": ISSUER + "/"}, "another issuer"),
    "iss in another case": ({"iss": "https://AS.example"}, "another issuer"),
    "iss of another": ({"iss": "https://evil.example"}, "another issuer"),
    "iss that contains ours": ({"iss": ISSUER + ".evil.example"}, "another issuer"),
    "iss is a list": ({"iss": [ISSUER]}, "another issuer"),
    "no aud": ({"aud": ABSENT}, "another resource"),
    "aud of another": ({"aud": "https://other.example/mcp"}, "another resource"),
    "aud is the client": ({"aud": "client-1"}, "another resource"),
    "aud with a trailing slash": ({"aud": AUDIENCE + "/"}, "another resource"),
    "aud that contains ours": ({"aud": AUDIENCE + "/admin"}, "another resource"),
    "aud is our origin": ({"aud": "https://mcp.example"}, "another resource"),
    "aud list without ours": ({"aud": ["https://other.example", "x"]}, "another resource"),
    "aud list of lists": ({"aud": [[AUDIENCE]]}, "another resource"),
    "aud is an object": ({"aud": {AUDIENCE: 1}}, "another resource"),
    "aud is empty": ({"aud": []}, "another resource"),
    "no exp": ({"exp": ABSENT}, "valid exp"),
    "exp is null": ({"exp": None}, "valid exp"),
    "exp is a string": ({"exp": str(NOW + 600)}, "valid exp"),
    "exp is true": ({"exp": True}, "valid exp"),
    "exp is a list": ({"exp": [NOW + 600]}, "valid exp"),
    "expired": ({"exp": NOW - 31}, "expired"),
    "expired long ago": ({"exp": 0}, "expired"),
    "exp is negative": ({"exp": -1}, "expired"),
    "no iat": ({"iat": ABSENT}, "valid iat"),
    "iat is a string": ({"iat": str(NOW)}, "valid iat"),
    "iat is false": ({"iat": False}, "valid iat"),
    "issued in the future": ({"iat": NOW + 31}, "not valid yet"),
    "nbf in the future": ({"nbf": NOW + 31}, "not valid yet"),
    "nbf is a string": ({"nbf": str(NOW)}, "not valid yet"),
    "nbf is true": ({"nbf": True}, "not valid yet"),
    "nbf is null": ({"nbf": None}, "not valid yet"),
    "bound to a key (DPoP)": ({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, "bound to a key"),
    "bound to a certificate": ({"cnf": {"x5t#S256": "x"}}, "bound to a key"),
    "an empty cnf": ({"cnf": {}}, "bound to a key"),
    "cnf is null": ({"cnf": None}, "bound to a key"),
    "no sub": ({"sub": ABSENT}, "lacks sub"),
    "sub is empty": ({"sub": ""}, "lacks sub"),
    "sub is a number": ({"sub": 1}, "lacks sub"),
    "no client_id": ({"client_id": ABSENT}, "lacks sub, client_id"),
    "client_id is a list": ({"client_id": ["client-1"]}, "lacks sub, client_id"),
    "no jti": ({"jti": ABSENT}, "lacks sub, client_id or jti"),
    "jti is a number": ({"jti": 1}, "lacks sub, client_id or jti"),
    "scope is a list": ({"scope": ["a"]}, "scope is malformed"),
    "scope is an object": ({"scope": {"a": 1}}, "scope is malformed"),
    "scope is a number": ({"scope": 1}, "scope is malformed"),
    "scope with a quote": ({"scope": 'a "b"'}, "scope is malformed"),
}


@pytest.mark.parametrize(("changes", "why"), REFUSED_CLAIMS.values(), ids=REFUSED_CLAIMS.keys())
def test_a_well_signed_token_with_a_wrong_claim_is_refused(
    changes: dict[str, Any], why: str, signing: Keys, published: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken, match=why):
        judge(sign(signing["ES256"], claims(**changes)), published)


REFUSED_PAYLOADS: Mapping[str, tuple[bytes, str]] = {
    "exp is NaN": (payload("exp", "NaN"), "valid exp"),
    "exp is Infinity": (payload("exp", "Infinity"), "valid exp"),
    "exp is 1e400": (payload("exp", "1e400"), "valid exp"),
    "exp is 1e300": (payload("exp", "1e300"), "valid exp"),
    "exp has 400 digits": (payload("exp", "9" * 400), "valid exp"),
    "exp has 5000 digits": (payload("exp", "9" * 5000), "malformed"),
    "iat is NaN": (payload("iat", "NaN"), "valid iat"),
    "iat is -Infinity": (payload("iat", "-Infinity"), "valid iat"),
    "nbf is NaN": (payload("nbf", "NaN"), "not valid yet"),
    "nbf is -Infinity": (payload("nbf", "-Infinity"), "not valid yet"),
    "deep JSON": (b'{"a":' * 2000, "malformed"),
    "a list": (json.dumps([CLAIMS]).encode(), "malformed"),
    "null": (b"null", "malformed"),
    "a string": (b'"iss"', "malformed"),
    "nothing": (b"", "malformed"),
    "not JSON": (b"{iss}", "malformed"),
    "not UTF-8": (payload("sub", '"\xff"').replace(b"\xc3\xbf", b"\xff"), "malformed"),
    "two documents": (json.dumps(CLAIMS).encode() * 2, "malformed"),
}


@pytest.mark.parametrize(("body", "why"), REFUSED_PAYLOADS.values(), ids=REFUSED_PAYLOADS.keys())
def test_a_well_signed_payload_that_is_no_honest_claims_set_is_refused(
    body: bytes, why: str, signing: Keys, published: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken, match=why):
        judge(sign(signing["ES256"], body), published)


def test_deep_json_in_a_claim_that_nobody_reads_is_no_error_but_an_invalid_token(
    signing: Keys, published: dict[str, Any]
) -> None:
    """How deep is too deep depends on Python's version."""
    with suppress(InvalidToken):
        assert judge(sign(signing["ES256"], payload("deep", "[" * 4000 + "]" * 4000)), published).subject == "user-1"


REFUSED_HEADERS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no typ": ({"typ": ABSENT}, "not an access token"),
    "typ is JWT": ({"typ": "JWT"}, "not an access token"),
    "typ of a logout token": ({"typ": "logout+jwt"}, "not an access token"),
    "typ that contains at+jwt": ({"typ": "x-at+jwt"}, "not an access token"),
    "typ is doubled": ({"typ": "application/application/at+jwt"}, "not an access token"),
    "no alg": ({"alg": ABSENT}, "malformed"),
    "alg none": ({"alg": "none"}, "algorithm is not accepted"),
    "alg None": ({"alg": "None"}, "algorithm is not accepted"),
    "alg HS256": ({"alg": "HS256"}, "algorithm is not accepted"),
    "alg RS1": ({"alg": "RS1"}, "algorithm is not accepted"),
    "alg PS256, which is not configured": ({"alg": "PS256"}, "algorithm is not accepted"),
    "alg in lower case": ({"alg": "es256"}, "algorithm is not accepted"),
    "alg is a list": ({"alg": ["ES256"]}, "algorithm is not accepted"),
    "alg is null": ({"alg": None}, "algorithm is not accepted"),
    "alg of another key type": ({"alg": "RS256"}, "not its key's"),
    "no kid": ({"kid": ABSENT}, "names no key"),
    "kid is a number": ({"kid": 1}, "names no key"),
    "kid is a list": ({"kid": []}, "names no key"),
    "crit": ({"crit": ["exp"], "exp": NOW}, "extension"),
    "crit is empty": ({"crit": []}, "extension"),
    "b64 false": ({"b64": False, "crit": ["b64"]}, "extension"),
    "b64 true": ({"b64": True}, "extension"),
    "b64 false without crit": ({"b64": False}, "malformed"),
}


@pytest.mark.parametrize(("header", "why"), REFUSED_HEADERS.values(), ids=REFUSED_HEADERS.keys())
def test_a_token_with_a_wrong_header_is_refused(
    header: dict[str, Any], why: str, signing: Keys, published: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken, match=why):
        judge(sign(signing["ES256"], CLAIMS, **header), published)


@pytest.mark.parametrize("header", [b"[]", b'["alg"]', b'"alg"', b"1", b"null", b"", b"{", b"\xff", b"[" * 4000])
def test_a_header_that_is_no_json_object_is_refused(header: bytes, published: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken, match="malformed"):
        judge(f"{b64(header)}.{b64(b'{}')}.AA", published)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
def test_an_unsigned_token_is_refused_even_where_none_is_configured(
    alg: str, signing: Keys, published: dict[str, Any]
) -> None:
    """RFC 8725 §3.2."""
    header = {"typ": "at+jwt", "alg": alg, "kid": signing["ES256"].kid}
    token = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(CLAIMS).encode())}."
    with pytest.raises(InvalidToken, match="algorithm is not accepted"):
        judge(token, published)
    with pytest.raises(InvalidToken, match="algorithm is not accepted"):
        judge(token, published, algorithms=("none", alg, "ES256"))


@pytest.mark.parametrize("form", ["pem", "der", "jwk", "modulus"])
def test_a_token_signed_by_hmac_with_the_public_key_is_refused_even_where_hs256_is_configured(
    form: str, signing: Keys, published: dict[str, Any]
) -> None:
    """RFC 8725 §2.1."""
    key = signing["RS256"]
    assert isinstance(key.private.raw_value, rsa.RSAPrivateKey)
    public, spki = key.private.raw_value.public_key(), serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "pem": public.public_bytes(serialization.Encoding.PEM, spki),
        "der": public.public_bytes(serialization.Encoding.DER, spki),
        "jwk": json.dumps(key.public()).encode(),
        "modulus": str(key.public()["n"]).encode(),
    }[form]
    header = {"typ": "at+jwt", "alg": "HS256", "kid": key.kid}
    message = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(CLAIMS).encode())}"
    token = f"{message}.{b64(hmac.digest(secret, message.encode(), hashlib.sha256))}"
    for algorithms in (ALGORITHMS, ("HS256", "RS256")):
        with pytest.raises(InvalidToken, match="algorithm is not accepted"):
            judge(token, published, algorithms=algorithms)


def test_a_symmetric_key_is_no_key_of_an_issuer(signing: Keys) -> None:
    secret = {"kty": "oct", "k": b64(b"s" * 32), "kid": "s", "alg": "HS256"}
    token = sign(signing["ES256"], CLAIMS, alg="HS256", kid="s")
    with pytest.raises(InvalidToken, match="algorithm is not accepted"):
        judge(token, {"s": secret}, algorithms=("HS256",))


def test_a_token_whose_key_is_not_known_is_refused_as_such(signing: Keys, published: dict[str, Any]) -> None:
    with pytest.raises(UnknownKey) as caught:
        judge(sign(signing["ES256"], kid="another"), published)
    assert caught.value.kid == "another"


def test_a_token_signed_by_another_key_under_a_known_kid_is_refused(signing: Keys, published: dict[str, Any]) -> None:
    stranger = jwks.new_signing_key("ES256")
    with pytest.raises(InvalidToken, match="does not verify"):
        judge(sign(dataclasses.replace(stranger, kid=signing["ES256"].kid)), published)


def test_a_key_that_the_token_brings_along_is_not_used(signing: Keys, published: dict[str, Any]) -> None:
    """RFC 8725 §3.10."""
    stranger = jwks.new_signing_key("ES256")
    forged = dataclasses.replace(stranger, kid=signing["ES256"].kid)
    for brought in ({"jwk": stranger.public()}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example/"}):
        with pytest.raises(InvalidToken, match="does not verify"):
            judge(sign(forged, CLAIMS, **brought), published)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_token_that_was_changed_after_signing_is_refused(alg: str, signing: Keys, published: dict[str, Any]) -> None:
    header, body, signature = sign(signing[alg]).split(".")
    changed = b64(json.dumps(claims(scope="a b admin")).encode())
    for token in (f"{header}.{changed}.{signature}", f"{header}.{body}.", f"{header}.{body}.{b64(bytes(64))}"):
        with pytest.raises(InvalidToken, match="does not verify"):
            judge(token, published)


def test_a_signature_of_zeros_is_refused(signing: Keys, published: dict[str, Any]) -> None:
    """CVE-2022-21449."""
    header, body, _ = sign(signing["ES256"]).split(".")
    with pytest.raises(InvalidToken, match="does not verify"):
        judge(f"{header}.{body}.{b64(bytes(64))}", published)


@pytest.mark.parametrize(
    "spoil",
    [
        "{} ",
        " {}",
        "{}\n",
        "{}=",
        "{}.",
        ".{}",
        "Bearer {}",
        "{}.{}",
        "{}\u00e9",
        "\u0430{}",
        "{}\ud800",
        "",
        ".",
        "..",
    ],
    ids=ascii,
)
def test_a_token_is_three_segments_and_nothing_else(spoil: str, signing: Keys, published: dict[str, Any]) -> None:
    token = sign(signing["ES256"])
    with pytest.raises(InvalidToken):
        judge(spoil.format(token, token), published)


def test_a_token_in_another_serialization_is_refused(signing: Keys, published: dict[str, Any]) -> None:
    header, body, signature = sign(signing["ES256"]).split(".")
    with pytest.raises(InvalidToken, match="malformed"):
        judge(json.dumps({"protected": header, "payload": body, "signature": signature}), published)


def test_a_token_that_is_too_long_is_refused_unread(signing: Keys, published: dict[str, Any]) -> None:
    room = access_token.MAX_LENGTH - len(sign(signing["ES256"], claims(filler="")))
    fitting = sign(signing["ES256"], claims(filler="x" * (room * 3 // 4 - 2)))
    assert len(fitting) <= access_token.MAX_LENGTH
    judge(fitting, published)
    with pytest.raises(InvalidToken, match="malformed"):
        judge(sign(signing["ES256"], claims(filler="x" * (room * 3 // 4 + 2))), published)


def test_a_key_is_used_for_its_own_algorithm_alone(signing: Keys) -> None:
    """RFC 8725 §3.1."""
    key = signing["RS256"]
    token = sign(key)
    judge(token, {key.kid: {n: v for n, v in key.public().items() if n not in {"alg", "use"}}})
    for alg in ("PS256", "RS512", "RSA-OAEP", "", None):
        with pytest.raises(InvalidToken, match="not its key's"):
            judge(token, {key.kid: {**key.public(), "alg": alg}})


def test_an_rs256_token_under_the_kid_of_an_ec_key_is_refused(signing: Keys) -> None:
    key = signing["RS256"]
    with pytest.raises(InvalidToken, match="not its key's"):
        judge(sign(key), {key.kid: {n: v for n, v in signing["ES256"].public().items() if n != "alg"}})


def test_a_resource_can_narrow_the_algorithms(signing: Keys, published: dict[str, Any]) -> None:
    judge(sign(signing["ES256"]), published, algorithms=("ES256",))
    with pytest.raises(InvalidToken, match="algorithm is not accepted"):
        judge(sign(signing["RS256"]), published, algorithms=("ES256",))


def test_an_rsa_key_of_1024_bits_is_too_short() -> None:
    private = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the point of the test
    with pytest.warns(SecurityWarning):
        weak = SigningKey("weak", RSAKey.import_key(private), "RS256")
    with pytest.warns(SecurityWarning), pytest.raises(InvalidToken, match="too short"):
        judge(sign(weak), {"weak": weak.public()})


@pytest.mark.parametrize(
    "jwk",
    [
        ECKey.generate_key("P-384").as_dict(private=False),
        {"kty": "EC"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": ["P-256"], "x": 1, "y": None},
        {"kty": "EC", "crv": "new", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "\u00e9", "y": "AA"},
    ],
    ids=["P-384", "no members", "not on the curve", "types", "curve", "not base64"],
)
def test_a_published_key_that_can_not_be_used_verifies_nothing(jwk: dict[str, Any], signing: Keys) -> None:
    with pytest.raises(InvalidToken, match="does not verify"):
        judge(sign(signing["ES256"], kid="k"), {"k": jwk})


@pytest.mark.parametrize("limit", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": "verify it"}])
def test_a_key_that_is_not_for_signatures_verifies_nothing(limit: dict[str, Any], signing: Keys) -> None:
    """RFC 7517 §4.2, §4.3."""
    key = signing["ES256"]
    with pytest.raises(InvalidToken, match="does not verify"):
        judge(sign(key), {key.kid: {**key.private.as_dict(private=False), **limit}})


def test_a_key_for_key_agreement_verifies_no_eddsa_token(signing: Keys) -> None:
    with pytest.raises(InvalidToken, match="does not verify"):
        judge(sign(signing["EdDSA"], kid="k"), {"k": OKPKey.generate_key("X25519").as_dict(private=False)})


@pytest.mark.parametrize(
    ("changes", "leeway"),
    [
        ({"exp": NOW + 1}, 0),
        ({"exp": NOW - 29}, 30),
        ({"exp": NOW - 59}, 60),
        ({"exp": NOW + 0.5}, 0),
        ({"nbf": NOW}, 0),
        ({"nbf": NOW + 30}, 30),
        ({"iat": NOW}, 0),
        ({"iat": NOW + 30}, 30),
        ({"nbf": 0}, 0),
    ],
    ids=str,
)
def test_a_token_is_accepted_up_to_the_edge_of_the_leeway(
    changes: dict[str, Any], leeway: int, signing: Keys, published: dict[str, Any]
) -> None:
    judge(sign(signing["ES256"], claims(**changes)), published, leeway=leeway)


@pytest.mark.parametrize(
    ("changes", "leeway"),
    [
        ({"exp": NOW}, 0),  # RFC 7519 §4.1.4: on or after
        ({"exp": NOW - 30}, 30),
        ({"exp": NOW - 60}, 60),
        ({"exp": NOW - 60}, 3600),  # leeway is a minute at most
        ({"nbf": NOW + 1}, 0),
        ({"nbf": NOW + 31}, 30),
        ({"nbf": NOW + 61}, 3600),
        ({"iat": NOW + 1}, 0),
        ({"iat": NOW + 31}, 30),
        ({"iat": NOW + 61}, 3600),
    ],
    ids=str,
)
def test_a_token_is_refused_beyond_the_edge_of_the_leeway(
    changes: dict[str, Any], leeway: int, signing: Keys, published: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken, match=r"expired|not valid yet"):
        judge(sign(signing["ES256"], claims(**changes)), published, leeway=leeway)


def test_of_a_repeated_claim_the_last_counts_for_every_reader(signing: Keys, published: dict[str, Any]) -> None:
    """RFC 7519 §4: refuse, or take the last; what must not be is that two readers take different ones."""
    body = json.dumps(CLAIMS).encode()
    theirs_first = sign(signing["ES256"], b'{"iss": "https://evil.example",' + body[1:])
    theirs_last = sign(signing["ES256"], body[:-1] + b', "iss": "https://evil.example"}')
    assert peek_issuer(theirs_first) == judge(theirs_first, published).issuer == ISSUER
    assert peek_issuer(theirs_last) == "https://evil.example"
    with pytest.raises(InvalidToken, match="another issuer"):
        judge(theirs_last, published)


def test_of_a_repeated_header_parameter_the_last_counts(signing: Keys, published: dict[str, Any]) -> None:
    """RFC 7515 §4: an `alg` that was refused can't be hidden behind another."""
    key = signing["ES256"]
    header = f'{{"typ":"at+jwt","kid":"{key.kid}","alg":"ES256","alg":"none"}}'.encode()
    message = f"{b64(header)}.{b64(json.dumps(CLAIMS).encode())}"
    with pytest.raises(InvalidToken, match="algorithm is not accepted"):
        judge(f"{message}.{b64(raw_signature(key.private.raw_value, message.encode()))}", published)


@pytest.fixture(params=["America/New_York", "Europe/Berlin", "Pacific/Kiritimati", "UTC"])
def timezone(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_times_are_right_whatever_timezone_the_process_has(
    timezone: str, signing: Keys, published: dict[str, Any]
) -> None:
    now = time.time()
    token = issue(
        signing["ES256"],
        issuer=ISSUER,
        subject="s",
        client_id="c",
        audience=AUDIENCE,
        scope=[],
        now=now,
        lifetime=60,
        jti="j",
    )
    assert unb64(token.split(".")[1])["exp"] == int(now) + 60
    assert judge(token, published, now=now, leeway=0).issued_at == int(now)
    with pytest.raises(InvalidToken, match="expired"):
        judge(token, published, now=now + 61, leeway=0)


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c", "..", f"x.{b64(b'[]')}.x", f"x.{b64(b'[' * 9000)}.x", f"x.{b64(b'{}')}.x.x"]
)
def test_what_is_no_token_claims_no_issuer(token: str) -> None:
    assert peek_issuer(token) is None


def test_an_issuer_that_is_no_string_is_none() -> None:
    assert peek_issuer(f"x.{b64(json.dumps({'iss': [ISSUER]}).encode())}.x") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["ES256", "none", "k", "at+jwt"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "iss"]), inner, max_size=5)
    ),
    max_leaves=8,
)
segments = json_values.map(lambda value: b64(json.dumps(value).encode())) | st.text("AZaz09-_=+/ \n", max_size=8)
KNOWN = {"k": jwks.new_signing_key("ES256").public()}


@given(st.text() | st.lists(segments, max_size=4).map(".".join) | st.tuples(segments, segments, segments).map(".".join))
def test_any_text_is_an_invalid_token(token: str) -> None:
    peek_issuer(token)
    with pytest.raises(InvalidToken):
        judge(token, KNOWN)
