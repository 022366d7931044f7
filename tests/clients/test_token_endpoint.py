"""What a token request sends and how it waits: signed assertions, busy servers, servers that refuse `resource`."""

import json
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwt
from joserfc.jwk import import_key

from garrison.base.errors import UsageError
from garrison.clients.client_assertion import parameters, read_key
from garrison.clients.errors import AuthorizationFailed, RateLimited
from garrison.clients.retry_after import Timing
from garrison.clients.session import connect
from garrison.clients.token_request import Client, authenticate
from garrison.oauth import jwks
from garrison.oauth.client_assertion import TYPE
from garrison.oauth.server_metadata import ServerMetadata
from tests.clients.browser import Browser
from tests.clients.world import World

ASK = ("get_customer_info", {"customer_id": "ABC123"})
SERVER = ServerMetadata(
    "https://auth.example",
    "https://auth.example/token",
    "https://auth.example/jwks",
    token_endpoint_auth_methods=("private_key_jwt",),
)
KEYS: dict[str, Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def private_file(folder: Path, data: bytes | str) -> Path:
    path = folder / "key"
    path.touch(mode=0o600)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # of EdDSA's name, which issuers still write
@pytest.mark.parametrize("alg", KEYS)
def test_an_assertion_is_signed_for_one_server_and_one_minute(tmp_path: Path, alg: str) -> None:
    private = KEYS[alg]()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = read_key(private_file(tmp_path, pem))
    form = parameters("me", key, SERVER, 1000.5)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    kind: Any = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}[alg]
    token = jwt.decode(form["client_assertion"], import_key(public, kind), algorithms=[alg])
    claims = {name: value for name, value in token.claims.items() if name != "jti"}
    assert claims == {"iss": "me", "sub": "me", "aud": "https://auth.example", "iat": 1000, "exp": 1060}
    assert token.header == {"alg": alg, "kid": key.kid, "typ": "JWT"}
    assert form["client_assertion_type"] == TYPE
    assert parameters("me", key, SERVER, 1000.5) != form  # a jti of its own


def test_a_jwk_keeps_its_own_name(tmp_path: Path) -> None:
    jwk = {**jwks.new_signing_key("ES256").private.as_dict(private=True), "kid": "mine"}
    assert read_key(private_file(tmp_path, json.dumps(jwk))).kid == "mine"


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    key = private_file(tmp_path, json.dumps(jwks.new_signing_key("ES256").private.as_dict(private=True)))
    for mode in (0o640, 0o604, 0o660):
        key.chmod(mode)
        with pytest.raises(UsageError, match="open to others"):
            read_key(key)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # of the short key
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[]",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        json.dumps(jwks.new_signing_key("ES256").public()),
        json.dumps({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}),
        ec.generate_private_key(ec.SECP384R1())
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode(),
        rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is what is tested
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode(),
        "é",
    ],
    ids=["nothing", "brace", "object", "array", "no key", "public", "symmetric", "another curve", "short", "no ASCII"],
)
def test_a_file_without_a_usable_private_key_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_key(private_file(tmp_path, text))
    assert "c2VjcmV0" not in refused.value.message


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        read_key(tmp_path / "nowhere")


def test_a_server_that_does_not_take_the_keys_algorithm_gets_no_assertion() -> None:
    document = {"token_endpoint_auth_signing_alg_values_supported": ["PS256"]}
    picky = ServerMetadata(**{**vars(SERVER), "document": document})
    with pytest.raises(AuthorizationFailed, match="ES256"):
        parameters("me", jwks.new_signing_key("ES256"), picky, 0)


def test_a_server_that_takes_no_assertions_gets_none() -> None:
    other = ServerMetadata(**{**vars(SERVER), "token_endpoint_auth_methods": ("client_secret_basic",)})
    with pytest.raises(AuthorizationFailed, match="assertion"):
        authenticate({}, Client("me", key=jwks.new_signing_key("ES256")), other, 0)


async def test_a_private_key_needs_its_client_and_its_issuer(world: World, tmp_path: Path) -> None:
    key = private_file(tmp_path, json.dumps(jwks.new_signing_key("ES256").private.as_dict(private=True)))
    wrong: list[dict[str, Any]] = [
        {},
        {"client_id": "me"},
        {"client_id": "me", "client_secret": "s", "issuer": "https://a.example"},
    ]
    for options in wrong:
        with pytest.raises(UsageError):
            async with connect(world.url, private_key_file=key, **options):
                pass


async def test_a_client_with_a_key_acts_for_itself(world: World, tmp_path: Path) -> None:
    key = jwks.new_signing_key("ES256")
    file = private_file(tmp_path, json.dumps(key.private.as_dict(private=True)))
    world.issuer.metadata["token_endpoint_auth_methods_supported"] = ["private_key_jwt"]
    world.issuer.token_answer = lambda form: {
        "access_token": world.issuer.token(form["resource"], "customer:read", "me", "me"),
        "token_type": "Bearer",
    }
    async with connect(world.url, client_id="me", private_key_file=file, issuer=world.issuer.issuer) as session:
        assert not (await session.call(*ASK)).is_error
    (form,) = world.issuer.forms
    assert form["grant_type"] == "client_credentials"
    assert "client_secret" not in form
    claims = jwt.decode(form["client_assertion"], key.private, algorithms=["ES256"]).claims
    assert claims["aud"] == world.issuer.issuer


class Pauses:
    """Sleeps in no time, and remembers for how long."""

    def __init__(self, random: float = 0.0) -> None:
        self.slept: list[float] = []
        self._random = random

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def timing(self) -> Timing:
        return Timing(sleep=self.sleep, random=lambda: self._random)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_token_endpoint_is_asked_again_after_the_pause_it_names(world: World, status: int) -> None:
    world.issuer.busy = [(status, {"Retry-After": "7"}), (status, {}), (status, {"Retry-After": "soon"})]
    pauses = Pauses()
    async with connect(world.url, timing=pauses.timing(), **world.client):
        pass
    assert pauses.slept == [7.0, 2.0, 4.0]
    assert len(world.issuer.forms) == 4


async def test_a_pause_may_be_a_date_and_is_never_shorter_than_asked(world: World) -> None:
    world.issuer.busy = [(503, {"Retry-After": formatdate(time.time() + 20, usegmt=True)})]
    pauses = Pauses(random=1.0)
    async with connect(world.url, timing=pauses.timing(), **world.client):
        pass
    assert 15 * 1.1 < pauses.slept[0] <= 20 * 1.1


@pytest.mark.parametrize(("retry_after", "requests"), [("3600", 1), ("0", 5)])
async def test_an_endless_429_of_the_token_endpoint_ends(world: World, retry_after: str, requests: int) -> None:
    world.issuer.busy = [(429, {"Retry-After": retry_after})] * 50
    with pytest.raises(RateLimited):
        async with connect(world.url, timing=Pauses().timing(), **world.client):
            pass
    assert len(world.issuer.forms) == requests


async def test_a_busy_token_endpoint_sends_nobody_to_log_in_again(world: World) -> None:
    browser, ahead, pauses = Browser(), [0.0], Pauses()
    timing = Timing(clock=lambda: time.time() + ahead[0], sleep=pauses.sleep)
    async with connect(world.url, client_id="cli", login=browser.login(), timing=timing) as session:
        ahead[0] = world.issuer.lifetime - 10
        world.issuer.busy = [(429, {"Retry-After": "3600"})]
        with pytest.raises(RateLimited):
            await session.call(*ASK)
        assert not (await session.call(*ASK)).is_error
    assert len(browser.urls) == 1


async def test_resource_is_left_out_only_where_the_user_says_so(world: World) -> None:
    """Entra refuses `resource` beside scopes; the token must be for this server all the same."""
    world.issuer.default_audience = world.url
    async with connect(world.url, client_id="cli", login=Browser().login(), omit_resource=True) as session:
        assert not (await session.call(*ASK)).is_error
    assert "resource" not in {**world.issuer.authorize_queries[0], **world.issuer.forms[0]}


async def test_without_resource_a_token_for_another_server_is_still_refused(world: World) -> None:
    world.issuer.default_audience = "https://other.example/mcp"
    with pytest.raises(AuthorizationFailed, match="aud"):
        async with connect(world.url, client_id="cli", login=Browser().login(), omit_resource=True):
            pass


async def test_offline_access_is_asked_for_where_the_server_knows_it(world: World) -> None:
    world.issuer.metadata["scopes_supported"] = ["customer:read", "offline_access"]
    world.issuer.grants = world.issuer.grants | {"offline_access"}
    async with connect(world.url, client_id="cli", login=Browser().login()):
        pass
    assert "offline_access" in world.issuer.authorize_queries[0]["scope"].split()
