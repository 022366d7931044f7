"""Statements 33 and 34: private_key_jwt."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import anyio
import httpx2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc import jws

from garrison.authserver import admin
from garrison.authserver.client_keys import BACK_OFF, MAX_OF_ONE, MAX_SETS, ClientKeys
from garrison.authserver.stores.assertions import use_assertion
from garrison.authserver.stores.purge import purge
from garrison.base.errors import UsageError
from garrison.base.events import Kind
from garrison.oauth import client_assertion, jwks, signed_jwt
from garrison.oauth.errors import InvalidClient
from garrison.oauth.jwks import SigningKey
from tests.authserver.world import ISSUER, ON_EVERY_ENGINE, RESOURCE, Web, World

CLIENT_CREDENTIALS = {"grant_type": "client_credentials"}
JWKS_URI = "https://keys.example/jwks"
KEY = jwks.new_signing_key("ES256")
RSA = jwks.new_signing_key("RS256")


async def key_client(world: World, *keys: SigningKey, **changes: Any) -> admin.NewClient:
    values = {"method": "private_key_jwt", "jwks": jwks.public_set(keys or [KEY]), **changes}
    client = await world.client(**values)
    assert client.client_secret is None
    return client


def claims(world: World, client: admin.NewClient, **changes: Any) -> dict[str, Any]:
    """Those of a good assertion, changed; None leaves one out."""
    good = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": ISSUER,
        "iat": int(world.time),
        "exp": int(world.time) + 300,
        "jti": "one",
        **changes,
    }
    return {name: value for name, value in good.items() if value is not None}


def assertion(world: World, client: admin.NewClient, key: SigningKey = KEY, typ: str = "JWT", **changes: Any) -> str:
    return signed_jwt.sign(key, claims(world, client, **changes), typ=typ)


async def post(world: World, signed: str, path: str = "/token", **form: str) -> httpx2.Response:
    fields = {"client_assertion_type": client_assertion.TYPE, "client_assertion": signed, **CLIENT_CREDENTIALS, **form}
    async with world.browser() as http:
        return await http.post(path, data={name: value for name, value in fields.items() if value})


def refused(response: httpx2.Response) -> bool:
    return (response.status_code, response.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
async def test_34_a_client_proves_itself_by_its_key_and_names_itself_nowhere_else(world: World, alg: str) -> None:
    key = jwks.new_signing_key(alg)
    client = await key_client(world, key)
    response = await post(world, assertion(world, client, key))
    assert response.status_code == 200, response.text
    assert world.read(response.json()["access_token"]).client_id == client.client_id
    assert (await post(world, assertion(world, client, key, jti="two"), client_id=client.client_id)).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": None},
        {"aud": f"{ISSUER}/"},
        {"aud": f"{ISSUER}/token"},
        {"aud": RESOURCE},
        {"aud": [ISSUER, "https://other.example"]},
        {"aud": []},
        {"iss": None},
        {"iss": "client_other"},
        {"sub": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 1},
        {"exp": None},
        {"exp": "1800000100"},
        {"exp": True},
        {"iat": None},
    ],
)
async def test_34_an_assertion_is_for_us_alone_and_of_the_client_alone(world: World, changes: dict[str, Any]) -> None:
    client = await key_client(world)
    assert refused(await post(world, assertion(world, client, **changes)))
    assert world.events.of(Kind.CLIENT_REFUSED)
    assert not world.events.of(Kind.TOKEN_ISSUED)


@pytest.mark.parametrize(
    ("seconds", "right"),
    [
        ({"exp": 300}, True),
        ({"exp": 301}, False),
        ({"iat": 29, "exp": 329}, True),
        ({"iat": 100, "exp": 331}, False),
        ({"iat": 31, "exp": 100}, False),
        ({"iat": -400, "exp": -100}, False),
        ({"iat": -100, "exp": -31}, False),
        ({"iat": -100, "exp": -29}, True),
        ({"iat": -200, "exp": 101}, False),
        ({"nbf": 31}, False),
        ({"nbf": 29}, True),
    ],
)
async def test_34_an_assertion_lives_five_minutes_at_most(world: World, seconds: dict[str, int], right: bool) -> None:
    client = await key_client(world)
    times: dict[str, Any] = {name: int(world.time) + offset for name, offset in seconds.items()}
    response = await post(world, assertion(world, client, **times))
    assert response.status_code == 200 if right else refused(response)


@ON_EVERY_ENGINE
async def test_34_an_assertion_is_used_once_by_this_client(world: World) -> None:
    client, other = await key_client(world), await key_client(world)
    assert (await post(world, assertion(world, client))).status_code == 200
    assert refused(await post(world, assertion(world, client)))
    assert refused(await post(world, assertion(world, client, exp=int(world.time) + 200)))
    assert (await post(world, assertion(world, other))).status_code == 200
    world.time += 329
    assert await purge(world.store, world.time) == 0
    assert refused(await post(world, assertion(world, client, iat=int(world.time) - 329, exp=int(world.time) - 29)))
    assert await purge(world.store, world.time + 2) == 2


@ON_EVERY_ENGINE
async def test_34_of_many_uses_at_once_on_two_replicas_exactly_one_succeeds(world: World) -> None:
    client, replica = await key_client(world), await world.another_app()
    signed, statuses = assertion(world, client), []
    form = {"client_assertion_type": client_assertion.TYPE, "client_assertion": signed, **CLIENT_CREDENTIALS}

    async def use(app: Any) -> None:
        async with world.browser(app) as http:
            statuses.append((await http.post("/token", data=form)).status_code)

    async with anyio.create_task_group() as group:
        for turn in range(20):
            group.start_soon(use, (world.app, replica)[turn % 2])
    assert sorted(statuses) == [200] + [401] * 19


@ON_EVERY_ENGINE
async def test_34_a_failed_request_uses_its_assertion_up_and_a_refused_assertion_does_not(world: World) -> None:
    client = await key_client(world)
    assert (await post(world, assertion(world, client), scope="security:read")).json()["error"] == "invalid_scope"
    assert refused(await post(world, assertion(world, client)))
    assert refused(await post(world, assertion(world, client, jti="two", aud=RESOURCE)))
    assert (await post(world, assertion(world, client, jti="two"))).status_code == 200


def forged(header: dict[str, Any], body: dict[str, Any], signature: str = "") -> str:
    parts = (urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, body))
    return ".".join([*parts, signature])


@pytest.mark.parametrize("alg", ["none", "HS256", "HS512", "RS512", "", None])
async def test_34_only_listed_asymmetric_algorithms_count(world: World, alg: str | None) -> None:
    client = await key_client(world)
    signature = assertion(world, client).rpartition(".")[2]
    header = {"alg": alg, "typ": "JWT", "kid": KEY.kid}
    assert refused(await post(world, forged(header, claims(world, client), signature)))


async def test_34_a_good_signature_by_an_algorithm_that_is_not_listed_or_not_the_keys_is_refused(world: World) -> None:
    nameless = {name: value for name, value in RSA.public().items() if name != "alg"}
    any_alg, one_alg = await key_client(world, jwks={"keys": [nameless]}), await key_client(world, RSA)

    def signed(client: admin.NewClient, alg: str) -> str:
        key = RSA.private.raw_value
        assert isinstance(key, rsa.RSAPrivateKey)
        header = {"alg": alg, "typ": "JWT", "kid": RSA.kid}
        message = forged(header, claims(world, client, jti=alg)).removesuffix(".")
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        how = (pss, hashes.SHA256()) if alg == "PS256" else (padding.PKCS1v15(), getattr(hashes, f"SHA{alg[2:]}")())
        return f"{message}.{urlsafe_b64encode(key.sign(message.encode(), *how)).rstrip(b'=').decode()}"

    for client, algs in ((any_alg, {"RS256", "PS256"}), (one_alg, {"RS256"})):
        for alg in ("RS256", "PS256", "RS384", "RS512"):
            response = await post(world, signed(client, alg))
            assert response.status_code == 200 if alg in algs else refused(response), alg


async def test_34_a_signature_of_another_key_is_refused(world: World) -> None:
    client = await key_client(world)
    stranger = jwks.new_signing_key("ES256")
    assert refused(await post(world, assertion(world, client, stranger)))
    assert refused(await post(world, assertion(world, client, SigningKey(KEY.kid, stranger.private, "ES256"))))
    good = assertion(world, client)
    assert refused(await post(world, good[:-4] + "AAAA"))
    other = await key_client(world, RSA)
    assert refused(await post(world, assertion(world, other, KEY)))


async def test_34_a_jwt_that_was_made_for_something_else_is_no_assertion(world: World) -> None:
    client = await key_client(world)
    assert refused(await post(world, assertion(world, client, typ="at+jwt")))
    assert (await post(world, assertion(world, client, typ="client-authentication+jwt"))).status_code == 200


async def test_34_without_a_kid_the_only_key_that_fits_is_meant(world: World) -> None:
    one, two = await key_client(world, KEY, RSA), await key_client(world, KEY, jwks.new_signing_key("ES256"))
    for client, right in ((one, True), (two, False)):
        good = assertion(world, client)
        signed = signed_jwt.sign(SigningKey("", KEY.private, "ES256"), claims(world, client), typ="JWT")
        header = {"alg": "ES256", "typ": "JWT"}
        key = KEY.private
        unnamed = jws.serialize_compact(header, json.dumps(claims(world, client, jti="three")), key)
        assert refused(await post(world, signed))
        response = await post(world, unnamed)
        assert response.status_code == 200 if right else refused(response)
        assert (await post(world, good)).status_code == 200


NO_NAME = [forged({"alg": "ES256"}, {"sub": sub}) for sub in (1, "", "\ud800", "a\0b", "é")]


@pytest.mark.parametrize("signed", ["", "x", "a.b.c", "é.é.é", "x" * 9000, *NO_NAME])
async def test_34_what_is_no_jwt_is_invalid_client(world: World, signed: str) -> None:
    assert refused(await post(world, signed))


async def test_34_the_assertion_type_is_required_and_the_client_id_may_not_differ(world: World) -> None:
    client = await key_client(world)
    good = assertion(world, client)
    assert refused(await post(world, good, client_assertion_type=""))
    assert refused(await post(world, good, client_assertion_type="urn:ietf:params:oauth:grant-type:jwt-bearer"))
    assert refused(await post(world, good, client_id="client_other"))
    assert (await post(world, good)).status_code == 200


async def test_33_a_client_with_a_key_can_use_nothing_else(world: World) -> None:
    client = await key_client(world)
    async with world.browser() as http:
        for secret in ("", "x"):
            form = {**CLIENT_CREDENTIALS, "client_id": client.client_id, "client_secret": secret}
            assert refused(await http.post("/token", data=form))
            assert refused(await http.post("/token", data=CLIENT_CREDENTIALS, auth=(client.client_id, secret)))


async def test_33_a_key_serves_no_client_of_another_method(world: World) -> None:
    secret, public = await world.client(), await world.client(public=True)
    response = await post(world, assertion(world, secret))
    assert refused(response)
    assert "registered" not in response.json()["error_description"], "who has proven nothing is told nothing"
    response = await post(world, assertion(world, public), grant_type="refresh_token", refresh_token="x")
    assert refused(response)
    assert "registered for none" in response.json()["error_description"]


async def test_33_an_assertion_beside_another_method_is_refused(world: World) -> None:
    client, secret = await key_client(world), await world.client()
    form = {
        "client_assertion_type": client_assertion.TYPE,
        "client_assertion": assertion(world, client),
        **CLIENT_CREDENTIALS,
    }
    async with world.browser() as http:
        auth = (secret.client_id, secret.client_secret or "")
        for response in (
            await http.post("/token", data=form, auth=auth),
            await http.post("/token", data={**form, "client_secret": "x"}),
        ):
            assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@ON_EVERY_ENGINE
async def test_34_a_client_with_a_key_revokes_and_introspects(world: World) -> None:
    client = await key_client(world, introspects=[RESOURCE])
    token = (await post(world, assertion(world, client))).json()["access_token"]
    told = await post(world, assertion(world, client, jti="two"), "/introspect", token=token)
    assert told.json()["active"] is True
    assert (await post(world, assertion(world, client, jti="three"), "/revoke", token=token)).status_code == 200
    assert (await post(world, assertion(world, client, jti="four"), "/introspect", token=token)).json() == {
        "active": False
    }


async def test_34_keys_are_fetched_from_jwks_uri_kept_and_fetched_again_for_an_unknown_kid(world: World) -> None:
    client = await key_client(world, jwks=None, jwks_uri=JWKS_URI)
    world.web.publish(JWKS_URI, jwks.public_set([RSA]))
    assert refused(await post(world, assertion(world, client, jti="1")))
    world.web.publish(JWKS_URI, jwks.public_set([KEY]))
    assert refused(await post(world, assertion(world, client, jti="2"))), "within the back-off"
    assert len(world.web.asked) == 1
    world.time += 11
    assert (await post(world, assertion(world, client, jti="3"))).status_code == 200
    assert (await post(world, assertion(world, client, jti="4"))).status_code == 200
    assert len(world.web.asked) == 2
    world.time += 301
    assert (await post(world, assertion(world, client, jti="5"))).status_code == 200
    assert len(world.web.asked) == 3
    world.time += 301
    world.web.publish(JWKS_URI, jwks.public_set([RSA]))
    assert refused(await post(world, assertion(world, client, jti="6"))), "a key taken out is no longer believed"


async def test_34_a_key_set_that_can_not_be_had_refuses_the_client_and_is_asked_for_again_later(world: World) -> None:
    client = await key_client(world, jwks=None, jwks_uri=JWKS_URI)
    for _ in range(3):
        assert refused(await post(world, assertion(world, client)))
    assert world.web.asked == [JWKS_URI]
    world.time += 11
    world.web.publish(JWKS_URI, jwks.public_set([KEY]))
    assert (await post(world, assertion(world, client))).status_code == 200
    documents: tuple[Any, ...] = ([], "x", {"keys": "x"}, {"keys": [1, {"kid": 1}]}, None)
    for document in documents:
        world.time += 301
        world.web.publish(JWKS_URI, document)
        assert refused(await post(world, assertion(world, client, jti="two")))


async def test_34_key_sets_kept_are_bounded_in_number() -> None:
    web, now = Web(), 0.0
    keys = ClientKeys(web, lambda: now)

    async def ask(times: int) -> None:
        for number in range(times):
            with pytest.raises(InvalidClient):
                await keys.get(f"https://keys.example/{number}", "kid")

    for _ in range(3):
        await ask(MAX_SETS + 10)
    assert len(keys._sets) == len(web.asked) == MAX_SETS, "going round more addresses than there is room for buys none"
    now += BACK_OFF
    await ask(MAX_SETS + 10)
    assert len(keys._sets) == MAX_SETS
    assert len(web.asked) > MAX_SETS


async def test_34_one_asker_keeps_nobody_elses_key_sets_out_however_many_it_names() -> None:
    web, now = Web(), 0.0
    keys = ClientKeys(web, lambda: now)

    async def ask(numbers: range, asker: str) -> None:
        for number in numbers:
            with pytest.raises(InvalidClient):
                await keys.get(f"https://keys.example/{number}", "kid", asker=asker)

    web.publish("https://kept.example/", jwks.public_set([KEY]))
    assert await keys.get("https://kept.example/", KEY.kid, asker="203.0.113.0/24")
    now += BACK_OFF
    await ask(range(1000, 1000 + 2 * MAX_SETS), "198.51.100.0/24")
    web.asked.clear()
    assert await keys.get("https://kept.example/", KEY.kid, asker="203.0.113.0/24")
    assert not web.asked, "what others had fetched is not pushed out"
    for begin in range(0, MAX_SETS, MAX_OF_ONE):
        await ask(range(begin, begin + MAX_OF_ONE + 1), "198.51.100.0/24")
        now += BACK_OFF
    web.asked.clear()
    for _ in range(2):
        await ask(range(MAX_SETS), "198.51.100.0/24")
    assert len(web.asked) == MAX_OF_ONE, "those that it had asked for before count too"
    web.publish("https://mine.example/", jwks.public_set([KEY]))
    assert await keys.get("https://mine.example/", KEY.kid, asker="203.0.113.0/24")
    web.publish("https://keys.example/0", jwks.public_set([KEY]))
    now += BACK_OFF
    assert await keys.get("https://keys.example/0", KEY.kid, asker="203.0.113.0/24")


async def test_34_an_assertion_is_used_once_for_as_long_as_clocks_may_differ(world: World) -> None:
    client = await key_client(world)
    signed = assertion(world, client)
    assert (await post(world, signed)).status_code == 200
    world.time += 300 + client_assertion.LEEWAY - 1
    await purge(world.store, world.time)
    assert "used before" in (await post(world, signed)).json()["error_description"]


@ON_EVERY_ENGINE
async def test_an_assertions_key_is_kept_until_it_may_be_forgotten(world: World) -> None:
    assert await use_assertion(world.store, "key", world.time + 10)
    assert not await use_assertion(world.store, "key", world.time + 10)
    await purge(world.store, world.time + 11)
    assert await use_assertion(world.store, "key", world.time + 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"jwks": None},
        {"jwks": {"keys": []}},
        {"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}},
        {"jwks": {"keys": [json.loads(jwks.dump_private([KEY]))["keys"][0]]}},
        {"jwks": {"keys": [KEY.public(), json.loads(jwks.dump_private([RSA]))["keys"][0]]}},
        {"jwks": {"keys": [KEY.public(), {"kty": "oct", "k": "AAAA"}]}},
        {"jwks": {"keys": [{"kty": "other"}]}},
        {"jwks": {"keys": [KEY.public()] * 21}},
        {"jwks": []},
        {"jwks_uri": JWKS_URI},
        {"jwks": None, "jwks_uri": "http://localhost/jwks"},
        {"jwks": None, "jwks_uri": "https://user@keys.example/"},
        {"jwks": None, "jwks_uri": "keys"},
        {"method": "client_secret_basic"},
        {"public": True},
    ],
)
async def test_34_a_client_is_registered_with_public_keys_or_their_https_address_and_nothing_else(
    world: World, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        await key_client(world, **wrong)


async def test_34_a_client_with_a_key_has_no_secret_to_rotate(world: World) -> None:
    client = await key_client(world)
    with pytest.raises(UsageError):
        await admin.rotate_client_secret(world.store, client.client_id)
