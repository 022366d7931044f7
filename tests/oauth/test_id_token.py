"""OpenID Connect Core §3.1.3.7: what an ID token must be to prove a sign-in."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc import jws

from garrison.oauth import id_token, jwks, signed_jwt
from garrison.oauth.errors import InvalidToken, UnknownKey
from tests.signing import foreign_jwt

NOW = 1_800_000_000
KEY = jwks.new_signing_key("ES256")
KEY_SET = jwks.public_set([KEY])
CLAIMS = {
    "iss": "https://login.example",
    "sub": "248289761001",
    "aud": "us",
    "iat": NOW,
    "exp": NOW + 300,
    "nonce": "n" * 43,
}


def token(*, typ: str = "JWT", **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return foreign_jwt(KEY, claims, typ=typ)


def judged(text: str, key_set: Any = KEY_SET, now: float = NOW) -> id_token.IdToken:
    return id_token.verify(text, key_set, issuer="https://login.example", client_id="us", nonce="n" * 43, now=now)


def test_a_good_one_names_the_subject_and_keeps_the_claims() -> None:
    good = judged(token(email="a@b.example"))
    assert good.subject == "248289761001"
    assert good.claims["email"] == "a@b.example"
    assert "a@b.example" not in repr(good)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["us"]},
        {"aud": ["others", "us"], "azp": "us"},
        {"azp": "us"},
        {"exp": NOW - 29},
        {"iat": NOW + 29},
        {"iat": NOW - 629},
        {"sub": "x" * 255},
    ],
)
def test_what_the_rules_leave_open_is_accepted(changes: dict[str, Any]) -> None:
    judged(token(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://login.example/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "others"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["us", "others"]}, "azp"),
        ({"aud": ["us", "others"], "azp": "others"}, "azp"),
        ({"azp": "others"}, "azp"),
        ({"azp": 7}, "azp"),
        ({"exp": NOW - 30}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": True}, "exp"),
        ({"iat": NOW + 31}, "not valid yet"),
        ({"iat": NOW - 631}, "iat"),
        ({"iat": None}, "iat"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"nonce": "x" * 43}, "nonce"),
        ({"nonce": "n" * 42}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": 7}, "nonce"),
        ({"nonce": "\ud800"}, "nonce"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "a\u0000b"}, "sub"),
        ({"sub": "\u00e9"}, "sub"),
        ({"sub": "x" * 256}, "sub"),
    ],
)
def test_a_claim_that_is_missing_or_wrong_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidToken, match=reason):
        judged(token(**changes))


@pytest.mark.parametrize("typ", ["at+jwt", "logout+jwt", "application/at+jwt"])
def test_a_jwt_for_something_else_is_refused(typ: str) -> None:
    with pytest.raises(InvalidToken, match="typ"):
        judged(token(typ=typ))


@pytest.mark.parametrize(
    "secret", [b"the client's secret", json.dumps(KEY.public()).encode()], ids=["of the client", "public key"]
)
def test_a_shared_secret_is_no_key(secret: bytes) -> None:
    """The client knows it too, and so may whoever it got out to."""
    signed = ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": KEY.kid}, CLAIMS))
    with pytest.raises(InvalidToken, match="algorithm"):
        judged(f"{signed}.{_part(hmac.digest(secret, signed.encode(), hashlib.sha256))}")


def test_without_a_signature_it_is_nothing() -> None:
    for alg in ("none", "None", "nOnE"):
        header, claims = (_part(json.dumps(part).encode()) for part in ({"alg": alg, "kid": KEY.kid}, CLAIMS))
        with pytest.raises(InvalidToken, match="algorithm"):
            judged(f"{header}.{claims}.")


def test_only_a_key_of_the_provider_signs() -> None:
    stranger = jwks.new_signing_key("ES256")
    with pytest.raises(UnknownKey):
        judged(signed_jwt.sign(stranger, CLAIMS, typ="JWT"))
    with pytest.raises(InvalidToken, match="signature"):
        judged(signed_jwt.sign(jwks.SigningKey(KEY.kid, stranger.private, "ES256"), CLAIMS, typ="JWT"))
    empty: list[Any] = [{}, {"keys": []}, [], None]
    for key_set in empty:
        with pytest.raises(InvalidToken):
            judged(token(), key_set)


def test_a_provider_with_one_key_need_not_name_it() -> None:
    nameless = {name: value for name, value in KEY.public().items() if name != "kid"}
    text = jws.serialize_compact({"alg": "ES256"}, json.dumps(CLAIMS), KEY.private, algorithms=["ES256"])
    assert judged(text, {"keys": [nameless]}).subject
    with pytest.raises(InvalidToken, match="kid"):
        judged(text, {"keys": [nameless, nameless]})


def _part(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
