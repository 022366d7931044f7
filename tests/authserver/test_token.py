"""Statements 32, 33 and 35 to 39: the token endpoint."""

import hmac
import json
import os
import time
from base64 import b64encode, urlsafe_b64decode
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import pytest

from garrison.authserver import admin, forms, seal
from garrison.authserver.client_auth import Credentials
from garrison.authserver.issue import Grant
from garrison.authserver.stores.clients import save_client
from garrison.base.errors import UsageError
from garrison.base.events import Kind
from garrison.oauth import jwks
from garrison.oauth.basic import render_basic
from tests.authserver.test_code import everything_on_disk
from tests.authserver.world import ON_EVERY_ENGINE, RESOURCE, SCOPES, Make, World

CLIENT_CREDENTIALS = {"grant_type": "client_credentials"}


def is_error(response: httpx2.Response, error: str, status: int = 400) -> bool:
    """Whether it is an error as RFC 6749 section 5.2 writes it."""
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error", "error_description"}
    assert (response.status_code, response.json()["error"]) == (status, error)
    return True


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_32_post_only(world: World, method: str) -> None:
    async with world.browser() as http:
        response = await http.request(method, "/token?grant_type=client_credentials")
    assert is_error(response, "invalid_request", 405)
    assert "POST" in response.headers["allow"]


async def test_32_form_only(world: World) -> None:
    client = await world.client()
    body = {**CLIENT_CREDENTIALS, "client_id": client.client_id, "client_secret": client.client_secret}
    async with world.browser() as http:
        assert is_error(await http.post("/token", json=body), "invalid_request")
        assert is_error(await http.post("/token", files={"grant_type": b"client_credentials"}), "invalid_request")
        assert is_error(await http.post("/token"), "invalid_request")


async def test_32_credentials_in_the_query_do_not_count(world: World) -> None:
    client = await world.client(method="client_secret_post")
    query = {"client_id": client.client_id, "client_secret": client.client_secret or ""}
    async with world.browser() as http:
        assert is_error(await http.post("/token", params=query, data=CLIENT_CREDENTIALS), "invalid_client", 401)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_32_basic_and_form_credentials_are_accepted(world: World, method: str) -> None:
    response = await world.token(await world.client(method=method), CLIENT_CREDENTIALS)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["token_type"] == "Bearer"
    assert response.json()["expires_in"] == 900


async def test_32_beside_basic_client_id_is_not_needed_and_may_not_differ(world: World) -> None:
    client, other = await world.client(), await world.client()
    same = {**CLIENT_CREDENTIALS, "client_id": client.client_id}
    assert (await world.token(client, same)).status_code == 200
    assert is_error(await world.token(client, {**same, "client_id": other.client_id}), "invalid_client", 401)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
    ],
)
async def test_32_errors_are_rfc_6749_json(world: World, form: dict[str, str], error: str) -> None:
    assert is_error(await world.token(await world.client(), form), error)
    assert world.events.of(Kind.TOKEN_REFUSED)[0].detail["error"] == error


@pytest.mark.parametrize("name", ["grant_type", "scope", "resource", "client_id", "unknown"])
async def test_32_repeated_parameters_are_refused(world: World, name: str) -> None:
    client = await world.client(method="client_secret_post")
    body = f"grant_type=client_credentials&client_id={client.client_id}&client_secret={client.client_secret}"
    body += "&scope=customer:read&unknown=1" + (f"&resource={RESOURCE}" if name == "resource" else "")
    value = {"grant_type": "client_credentials", "client_id": client.client_id, "resource": RESOURCE}.get(name, "1")
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    async with world.browser() as http:
        assert (await http.post("/token", content=body, headers=headers)).status_code == 200
        assert is_error(await http.post("/token", content=f"{body}&{name}={value}", headers=headers), "invalid_request")


@pytest.mark.parametrize(
    "body", [b"grant_type=%ff", b"grant_type=\xff", b"grant_type=%00", b"&".join(b"a%d=b" % n for n in range(60))]
)
async def test_32_a_body_that_is_no_form_is_refused(world: World, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with world.browser() as http:
        assert is_error(await http.post("/token", content=body, headers=headers), "invalid_request")


async def test_32_a_body_that_is_too_long_is_refused(world: World) -> None:
    async with world.browser() as http:
        assert is_error(await http.post("/token", data={"a": "x" * 20_000}), "invalid_request", 413)
        assert is_error(await http.post("/revoke", data={"a": "x" * 20_000}), "invalid_request", 413)
        assert (await http.post("/login", data={"a": "x" * 20_000})).status_code == 413


async def test_32_a_body_that_does_not_come_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"grant_type="
        await anyio.sleep_forever()

    monkeypatch.setattr(forms, "FORM_SECONDS", 0.05)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    async with world.browser() as http:
        with anyio.fail_after(60):
            response = await http.post("/token", content=stalled(), headers=headers)
    assert is_error(response, "invalid_request", 408)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@ON_EVERY_ENGINE
async def test_33_a_wrong_missing_or_old_secret_is_invalid_client(world: World, method: str) -> None:
    client = await world.client(method=method)
    for secret in ("wrong", "", None, f"{client.client_secret} "):
        wrong = admin.NewClient(client.client_id, secret, client.client)
        response = await world.token(wrong, CLIENT_CREDENTIALS)
        assert is_error(response, "invalid_client", 401)
        assert response.headers["www-authenticate"] == 'Basic realm="https://auth.example"'
    new = await admin.rotate_client_secret(world.store, client.client_id)
    assert is_error(await world.token(client, CLIENT_CREDENTIALS), "invalid_client", 401)
    assert (await world.token(new, CLIENT_CREDENTIALS)).status_code == 200
    assert len(world.events.of(Kind.CLIENT_REFUSED)) == 5


async def test_50_swapped_credentials_leave_no_secret_in_the_events(world: World) -> None:
    client = await world.client()
    swapped = admin.NewClient(client.client_secret or "", client.client_id, client.client)
    assert is_error(await world.token(swapped, CLIENT_CREDENTIALS), "invalid_client", 401)
    assert str(client.client_secret) not in repr(world.events.of(Kind.CLIENT_REFUSED))


@ON_EVERY_ENGINE
async def test_33_unknown_disabled_and_removed_clients_get_the_answer_of_a_wrong_secret(world: World) -> None:
    disabled, removed = await world.client(), await world.client()
    await admin.disable_client(world.store, disabled.client_id)
    await admin.remove_client(world.store, removed.client_id)
    wrong = admin.NewClient((await world.client()).client_id, "wrong", disabled.client)
    answers = [(await world.token(client, CLIENT_CREDENTIALS)) for client in (disabled, removed, wrong)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}


@pytest.mark.parametrize(
    ("registered", "used"),
    [("client_secret_basic", "client_secret_post"), ("client_secret_post", "client_secret_basic")],
)
async def test_33_another_method_than_the_registered_one_is_refused_and_the_answer_says_which(
    world: World, registered: str, used: str
) -> None:
    client = await world.client(method=registered)
    as_other = await world.client(method=used)
    pretender = admin.NewClient(client.client_id, client.client_secret, as_other.client)
    response = await world.token(pretender, CLIENT_CREDENTIALS)
    assert is_error(response, "invalid_client", 401)
    assert registered in response.json()["error_description"]
    wrong = admin.NewClient(client.client_id, "wrong", as_other.client)
    assert registered not in (await world.token(wrong, CLIENT_CREDENTIALS)).json()["error_description"]


async def test_33_secrets_are_compared_in_constant_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await world.client()
    compared: list[bytes] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(b)
        return whole(a, b)

    whole = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert (await world.token(client, CLIENT_CREDENTIALS)).status_code == 200
    assert seal.hashed(client.client_secret or "").encode() in compared


async def test_33_two_methods_at_once_are_refused(world: World) -> None:
    client = await world.client()
    both = {**CLIENT_CREDENTIALS, "client_id": client.client_id, "client_secret": client.client_secret or ""}
    assert is_error(await world.token(client, both), "invalid_request")


async def test_33_two_authorization_headers_are_refused(world: World) -> None:
    client = await world.client()
    header = render_basic(client.client_id, client.client_secret or "")
    async with world.browser() as http:
        twice = [("Authorization", header), ("Authorization", header)]
        assert is_error(await http.post("/token", data=CLIENT_CREDENTIALS, headers=twice), "invalid_request")


async def test_33_a_public_client_with_a_secret_is_refused(world: World) -> None:
    client = await world.client(public=True)
    form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": client.client_id}
    async with world.browser() as http:
        assert is_error(await http.post("/token", data={**form, "client_secret": "x"}), "invalid_client", 401)
        assert is_error(await http.post("/token", data=form), "invalid_grant")


NO_PAIR = [f"Basic {b64encode(pair).decode()}" for pair in (b"nocolon", b"a%00b:c", b"%c3%a9:c", b":c")]


@pytest.mark.parametrize("header", ["Bearer x", "Basic", "Basic !!!", *NO_PAIR])
async def test_33_malformed_authorization_headers_are_invalid_client(world: World, header: str) -> None:
    async with world.browser() as http:
        response = await http.post("/token", data=CLIENT_CREDENTIALS, headers={"Authorization": header})
    assert is_error(response, "invalid_client", 401)


async def test_33_good_credentials_under_another_scheme_are_refused(world: World) -> None:
    client = await world.client()
    right = render_basic(client.client_id, client.client_secret or "")
    async with world.browser() as http:
        for header, status in (
            (right, 200),
            (right.replace("Basic", "basic"), 200),
            (right.replace("Basic", "Bearer"), 401),
        ):
            response = await http.post("/token", data=CLIENT_CREDENTIALS, headers={"Authorization": header})
            assert response.status_code == status, header


@ON_EVERY_ENGINE
async def test_33_secrets_are_stored_hashed(world: World) -> None:
    client = await world.client()
    assert client.client_secret
    assert client.client_secret.encode() not in await everything_on_disk(world)
    assert client.client_secret not in repr(client)


@ON_EVERY_ENGINE
async def test_35_client_credentials_gives_no_refresh_token_and_sub_is_the_client(world: World) -> None:
    client = await world.client()
    body = (await world.token(client, CLIENT_CREDENTIALS)).json()
    assert "refresh_token" not in body
    token = world.read(body["access_token"])
    assert token.subject == token.client_id == client.client_id
    assert body["scope"] == "customer:read ticket:create"


async def test_35_client_credentials_is_for_confidential_clients_only(world: World) -> None:
    with pytest.raises(UsageError):
        await admin.add_client(world.store, "x", grants=["client_credentials"], scope="a", public=True)
    client = await world.client(public=True)
    wrong = replace(client.client, client_id="client_x", grants=frozenset({"client_credentials"}))
    await save_client(world.store, wrong, None)
    response = await world.token(admin.NewClient("client_x", None, wrong), CLIENT_CREDENTIALS)
    assert is_error(response, "unauthorized_client")


async def test_35_a_username_can_not_be_a_client_id(world: World) -> None:
    client = await world.client()
    for username in (client.client_id, "client_x", "", "Alice", "a b", "x" * 65, "é", "-a", "alice\n"):
        with pytest.raises(UsageError):
            await world.user(username)


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("customer:read", "customer:read"),
        (None, "customer:read ticket:create"),
        ("customer:read security:read", None),
        ("admin:all", None),
        ("customer:read admin:all", None),
        ("offline_access", "customer:read ticket:create"),
        ('"', None),
    ],
)
async def test_35_client_credentials_gets_what_it_asks_for_or_invalid_scope(
    world: World, scope: str | None, granted: str | None
) -> None:
    client = await world.client(scope="customer:read ticket:create admin:all")
    response = await world.token(client, {**CLIENT_CREDENTIALS, **({"scope": scope} if scope else {})})
    assert response.json()["scope"] == granted if granted else is_error(response, "invalid_scope")


async def test_35_a_client_with_no_scope_at_the_resource_gets_invalid_scope(world: World) -> None:
    client = await world.client(scope="admin:all")
    assert is_error(await world.token(client, CLIENT_CREDENTIALS), "invalid_scope")


async def test_36_the_password_grant_is_refused(world: World) -> None:
    await world.user()
    form = {"grant_type": "password", "username": "alice", "password": "correct horse battery"}
    assert is_error(await world.token(await world.client(), form), "unsupported_grant_type")


@pytest.mark.parametrize("grant", ["authorization_code", "refresh_token", "client_credentials"])
async def test_36_a_grant_that_the_client_is_not_registered_for_is_unauthorized_client(
    world: World, grant: str
) -> None:
    every = {"authorization_code", "client_credentials"} - {grant}
    uris = ["https://app.example/cb"] if "authorization_code" in every else []
    client = await world.client(grants=every, redirect_uris=uris)
    form = {"grant_type": grant, "code": "x", "refresh_token": "x"}
    assert is_error(await world.token(client, form), "unauthorized_client")


async def test_37_aud_is_the_granted_resource_in_its_registered_form(make_world: Make) -> None:
    world = await make_world(resources={RESOURCE: SCOPES, "https://two.example/": {"customer:read"}})
    await world.user()
    client = await world.client()
    body = (await world.token(client, {**CLIENT_CREDENTIALS, "resource": f"{RESOURCE}/"})).json()
    assert world.read(body["access_token"]).audience == (RESOURCE,)
    assert is_error(await world.token(client, CLIENT_CREDENTIALS), "invalid_target")
    two = (await world.token(client, {**CLIENT_CREDENTIALS, "resource": "https://two.example"})).json()
    assert world.read(two["access_token"], "https://two.example/").scopes == {"customer:read"}
    by_code = await world.tokens(client, resource=f"{RESOURCE}/")
    assert world.read(by_code["access_token"]).audience == (RESOURCE,)


async def test_37_a_client_of_one_resource_gets_tokens_for_no_other(make_world: Make) -> None:
    world = await make_world(resources={RESOURCE: SCOPES, "https://two.example": SCOPES})
    client = await world.client(resources=["https://two.example/", "https://foreign.example"])
    for resource in ("https://two.example", "https://foreign.example"):
        body = (await world.token(client, {**CLIENT_CREDENTIALS, "resource": f"{resource}/"})).json()
        assert world.read(body["access_token"], resource).audience == (resource,)
    assert is_error(await world.token(client, {**CLIENT_CREDENTIALS, "resource": RESOURCE}), "invalid_target")


async def test_37_redemption_may_narrow_scope_and_never_widen_it_or_change_the_resource(make_world: Make) -> None:
    world = await make_world(resources={RESOURCE: SCOPES, "https://two.example": SCOPES})
    await world.user()
    client = await world.client()
    for change, error in (
        ({"scope": "ticket:create"}, "invalid_scope"),
        ({"resource": "https://two.example"}, "invalid_target"),
    ):
        form = world.redemption(client, await world.code(client), **change)
        assert is_error(await world.token(client, form), error)
    code = await world.code(client, scope="customer:read ticket:create")
    body = (await world.token(client, world.redemption(client, code, scope="ticket:create"))).json()
    assert body["scope"] == "ticket:create"


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
async def test_38_access_tokens_are_at_jwt_with_an_asymmetric_algorithm_kid_client_id_and_jti(
    make_world: Make, alg: str
) -> None:
    world = await make_world(signing_keys=[jwks.new_signing_key(alg), jwks.new_signing_key()])
    client = await world.client()
    bodies = [(await world.token(client, CLIENT_CREDENTIALS)).json() for _ in range(2)]
    header = json.loads(urlsafe_b64decode(bodies[0]["access_token"].partition(".")[0] + "=="))
    assert header == {"typ": "at+jwt", "alg": alg, "kid": world.settings.signing_keys[0].kid}
    first, second = (world.read(body["access_token"]) for body in bodies)
    assert first.jti != second.jti
    assert [event.detail["jti"] for event in world.events.of(Kind.TOKEN_ISSUED)] == [first.jti, second.jti]
    assert first.expires_at - first.issued_at == 900


async def test_38_no_setting_makes_access_tokens_live_longer_than_an_hour(world: World) -> None:
    with pytest.raises(UsageError):
        world.changed(access_token_lifetime=3601)


@pytest.fixture(params=["America/New_York", "Europe/Berlin", "UTC"])
def timezone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(os.environ, "TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("timezone")
async def test_39_iat_and_exp_are_right_whatever_the_time_zone(make_world: Make) -> None:
    world: World = await make_world()
    world.time = time.time()
    token = world.read((await world.token(await world.client(), CLIENT_CREDENTIALS)).json()["access_token"])
    assert token.issued_at == int(world.time)
    assert token.expires_at == int(world.time) + 900


async def test_a_client_is_registered_with_grants_and_redirect_uris_that_go_together(world: World) -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"grants": []},
        {"grants": ["password"]},
        {"grants": ["client_credentials"]},
        {"redirect_uris": []},
        {"grants": ["refresh_token"], "redirect_uris": []},
        {"method": "private_key_jwt"},
        {"method": "none"},
        {"scope": ""},
        {"scope": 'a"b'},
        {"resources": ["not a uri"]},
    )
    for wrong in wrongs:
        with pytest.raises(UsageError):
            await world.client(**wrong)


def test_50_what_a_request_is_proved_with_is_in_no_text_of_it() -> None:
    credentials = Credentials("client_secret_basic", "client_x", client_secret="s3cret", assertion="a.b.c")
    assert repr(credentials) == "Credentials(client_secret_basic, client_x)"
    given = Grant("refresh_token", "client_x", "alex", frozenset(), "https://r.example", refresh_token="r3fresh")
    assert "r3fresh" not in repr(given)
