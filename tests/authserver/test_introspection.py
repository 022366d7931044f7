"""Statements 45 and 46: what /introspect tells, to whom, and that what was revoked is seen there at once."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from garrison.authserver import admin
from garrison.authserver.stores.access_tokens import revoke_access_token
from garrison.authserver.stores.purge import purge
from garrison.authserver.stores.tables import users
from garrison.base.errors import UsageError
from garrison.base.events import Kind
from garrison.oauth import access_token, client_assertion, jwks
from tests.authserver.world import CHEAP, ISSUER, ON_EVERY_ENGINE, RESOURCE, Forms, World

INACTIVE = {"active": False}
OTHER = "https://other.example/mcp"
CLIENT_CREDENTIALS = {"grant_type": "client_credentials"}


async def post(world: World, path: str, client: admin.NewClient, **form: str) -> httpx2.Response:
    async with world.browser() as http:
        return await http.post(path, data=form, auth=(client.client_id, client.client_secret or ""))


async def resource_server(world: World, *resources: str) -> admin.NewClient:
    return await world.client(
        name="Customer service", grants=["client_credentials"], redirect_uris=[], introspects=resources or [RESOURCE]
    )


async def asked(world: World, server: admin.NewClient, token: str) -> dict[str, Any]:
    response = await post(world, "/introspect", server, token=token)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@ON_EVERY_ENGINE
async def test_46_a_resource_server_is_told_what_its_access_token_says(world: World) -> None:
    await world.user()
    client, server = await world.client(), await resource_server(world, f"{RESOURCE}/")
    body = await world.tokens(client)
    token = world.read(body["access_token"])
    response = await post(world, "/introspect", server, token=body["access_token"], token_type_hint="refresh_token")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {
        "active": True,
        "token_type": "Bearer",
        "iss": ISSUER,
        "sub": "alice",
        "aud": RESOURCE,
        "client_id": client.client_id,
        "scope": "customer:read",
        "iat": token.issued_at,
        "exp": token.expires_at,
        "jti": token.jti,
    }


@ON_EVERY_ENGINE
async def test_46_a_client_is_told_of_its_own_refresh_token_and_a_resource_server_never(world: World) -> None:
    await world.user()
    client, server = await world.client(), await resource_server(world)
    body = await world.tokens(client)
    token = body["refresh_token"]
    assert await asked(world, client, token) == {
        "active": True,
        "iss": ISSUER,
        "sub": "alice",
        "aud": RESOURCE,
        "client_id": client.client_id,
        "scope": "customer:read",
        "exp": int(world.time) + world.settings.refresh_idle_lifetime,
    }
    assert await asked(world, server, token) == INACTIVE
    assert await asked(world, await world.client(), token) == INACTIVE
    await world.refresh(client, token)
    assert await asked(world, client, token) == INACTIVE


async def test_46_whom_a_token_does_not_concern_learns_nothing(world: World) -> None:
    await world.user()
    client = await world.client()
    token = (await world.tokens(client))["access_token"]
    for stranger in (client, await world.client(), await resource_server(world, OTHER)):
        assert await asked(world, stranger, token) == INACTIVE


async def test_46_introspection_is_authenticated_and_not_for_public_clients(world: World) -> None:
    await world.user()
    client, public, server = await world.client(), await world.client(public=True), await resource_server(world)
    token = (await world.tokens(client))["access_token"]
    async with world.browser() as http:
        answers = [
            await http.post("/introspect", data={"token": token}),
            await http.post("/introspect", data={"token": token, "client_id": server.client_id}),
            await http.post("/introspect", data={"token": token}, auth=(server.client_id, "wrong")),
            await http.post("/introspect", data={"token": token, "client_id": public.client_id}),
            await http.post("/introspect", data={"token": token}, headers={"Authorization": f"Bearer {token}"}),
        ]
        assert (await http.get("/introspect", params={"token": token})).status_code == 405
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(401, "invalid_client")] * 5
    assert len(world.events.of(Kind.CLIENT_REFUSED)) == 5


async def test_46_a_request_without_one_token_is_invalid(world: World) -> None:
    server = await resource_server(world)
    async with world.browser() as http:
        auth = (server.client_id, server.client_secret or "")
        for form in ({}, {"token": ["a", "b"]}, {"token": ""}):
            response = await http.post("/introspect", data=form, auth=auth)
            assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("token", ["unknown", "a.b.c", "é", "x" * 9000])
async def test_46_what_is_no_token_of_ours_is_inactive(world: World, token: str) -> None:
    assert await asked(world, await resource_server(world), token) == INACTIVE


async def test_46_a_token_of_another_key_or_issuer_is_inactive(world: World) -> None:
    client, server = await world.client(), await resource_server(world)
    (ours,), theirs = world.settings.signing_keys, jwks.new_signing_key("ES256")
    claims: dict[str, Any] = {
        "subject": client.client_id,
        "client_id": client.client_id,
        "audience": RESOURCE,
        "scope": ["customer:read"],
        "now": world.time,
        "lifetime": 60,
        "jti": "1",
    }
    for key, issuer in ((theirs, ISSUER), (replace(theirs, kid=ours.kid), ISSUER), (ours, "https://evil.example")):
        token = access_token.issue(key, issuer=issuer, **claims)
        assert await asked(world, server, token) == INACTIVE
    assert (await asked(world, server, access_token.issue(ours, issuer=ISSUER, **claims)))["active"] is True


async def test_46_an_expired_token_is_inactive_to_the_second(world: World) -> None:
    client, server = await world.client(), await resource_server(world)
    token = (await world.token(client, CLIENT_CREDENTIALS)).json()["access_token"]
    world.time += 899
    assert (await asked(world, server, token))["active"] is True
    world.time += 1
    assert await asked(world, server, token) == INACTIVE


@ON_EVERY_ENGINE
async def test_45_a_client_revokes_an_access_token_and_that_one_alone(world: World) -> None:
    await world.user()
    client, server = await world.client(), await resource_server(world)
    body = await world.tokens(client)
    other = (await world.refresh(client, body["refresh_token"])).json()
    for _ in range(2):
        assert (await post(world, "/revoke", client, token=body["access_token"])).status_code == 200
    assert await asked(world, server, body["access_token"]) == INACTIVE
    assert (await asked(world, server, other["access_token"]))["active"] is True
    revoked = world.events.of(Kind.TOKEN_REVOKED)
    assert [event.detail["jti"] for event in revoked] == [world.read(body["access_token"]).jti]


@ON_EVERY_ENGINE
async def test_45_another_client_can_not_revoke_an_access_token(world: World) -> None:
    client, thief, server = await world.client(), await world.client(), await resource_server(world)
    token = (await world.token(client, CLIENT_CREDENTIALS)).json()["access_token"]
    response = await post(world, "/revoke", thief, token=token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await asked(world, server, token))["active"] is True


@ON_EVERY_ENGINE
async def test_45_an_expired_or_foreign_access_token_is_200_and_nothing_is_kept_of_it(world: World) -> None:
    client = await world.client()
    token = (await world.token(client, CLIENT_CREDENTIALS)).json()["access_token"]
    world.time += 1000
    assert (await post(world, "/revoke", client, token=token)).status_code == 200
    assert not world.events.of(Kind.TOKEN_REVOKED)


async def _revoke_refresh_token(world: World, client: admin.NewClient, body: dict[str, Any]) -> None:
    await post(world, "/revoke", client, token=body["refresh_token"])


async def _reuse(world: World, client: admin.NewClient, body: dict[str, Any]) -> None:
    successor = (await world.refresh(client, body["refresh_token"])).json()["refresh_token"]
    await world.refresh(client, successor)
    assert (await world.refresh(client, body["refresh_token"])).status_code == 400


async def _new_password(world: World, client: admin.NewClient, body: dict[str, Any]) -> None:
    await admin.set_password(world.store, "alice", cost=CHEAP, clock=world.now)


async def _disable_user(world: World, client: admin.NewClient, body: dict[str, Any]) -> None:
    await admin.disable_user(world.store, "alice", clock=world.now)


async def _remove_user(world: World, client: admin.NewClient, body: dict[str, Any]) -> None:
    await admin.remove_user(world.store, "alice")


async def _disable_client(world: World, client: admin.NewClient, body: dict[str, Any]) -> None:
    await admin.disable_client(world.store, client.client_id)


async def _remove_client(world: World, client: admin.NewClient, body: dict[str, Any]) -> None:
    await admin.remove_client(world.store, client.client_id)


@pytest.mark.parametrize(
    "end",
    [_revoke_refresh_token, _reuse, _new_password, _disable_user, _remove_user, _disable_client, _remove_client],
)
@ON_EVERY_ENGINE
async def test_44_what_ends_a_grant_ends_its_access_tokens(
    world: World, end: Callable[[World, admin.NewClient, dict[str, Any]], Awaitable[None]]
) -> None:
    await world.user()
    client, server = await world.client(), await resource_server(world)
    body = await world.tokens(client)
    assert (await asked(world, server, body["access_token"]))["active"] is True
    await end(world, client, body)
    assert await asked(world, server, body["access_token"]) == INACTIVE


@ON_EVERY_ENGINE
async def test_44_signing_out_ends_access_tokens(world: World) -> None:
    await world.user()
    client, server = await world.client(), await resource_server(world)
    async with world.browser() as browser:
        page = await world.consent_page(browser, client)
        code = (await world.decide(browser, page)).headers["location"].partition("code=")[2].partition("&")[0]
        token = (await world.token(client, world.redemption(client, code))).json()["access_token"]
        assert (await asked(world, server, token))["active"] is True
        page = await browser.get("/logout")
        await browser.post("/logout", data=Forms(page.text).fields("/logout"))
    assert await asked(world, server, token) == INACTIVE


@ON_EVERY_ENGINE
async def test_44_a_disabled_users_tokens_are_inactive_however_they_came_to_be_disabled(world: World) -> None:
    await world.user()
    client, server = await world.client(), await resource_server(world)
    body = await world.tokens(client)
    async with world.store.write() as connection:
        await connection.execute(users.update().values(disabled=True))
    assert await asked(world, server, body["access_token"]) == INACTIVE
    assert await asked(world, client, body["refresh_token"]) == INACTIVE


@ON_EVERY_ENGINE
async def test_46_an_expired_or_revoked_refresh_token_is_inactive(world: World) -> None:
    await world.user()
    client = await world.client()
    for end in (_revoke_refresh_token, None):
        body = await world.tokens(client)
        if end:
            await end(world, client, body)
        else:
            world.time += world.settings.refresh_idle_lifetime
        assert await asked(world, client, body["refresh_token"]) == INACTIVE


async def test_50_what_is_asked_about_and_what_proves_a_client_is_in_no_event(world: World) -> None:
    await world.user()
    client, server = await world.client(), await resource_server(world)
    body = await world.tokens(client)
    for token in (body["access_token"], body["refresh_token"]):
        await post(world, "/introspect", server, token=token)
        await post(world, "/revoke", server, token=token)
        await post(world, "/revoke", client, token=token)
    async with world.browser() as http:
        for path in ("/introspect", "/revoke"):
            for shown in (body["access_token"], "of.nobody.whatever"):
                form = {"token": body["access_token"], "client_assertion": shown}
                await http.post(path, data={**form, "client_assertion_type": client_assertion.TYPE})
    told = repr(world.events.events)
    assert len(world.events.of(Kind.CLIENT_REFUSED)) == 4
    assert "of.nobody.whatever" not in told
    for secret in (body["access_token"], body["refresh_token"], client.client_secret, server.client_secret):
        assert secret
        assert secret not in told


@ON_EVERY_ENGINE
async def test_44_a_clients_own_token_ends_with_the_client(world: World) -> None:
    client, server = await world.client(), await resource_server(world)
    token = (await world.token(client, CLIENT_CREDENTIALS)).json()["access_token"]
    await admin.disable_client(world.store, client.client_id)
    assert await asked(world, server, token) == INACTIVE


@ON_EVERY_ENGINE
async def test_a_revocation_is_forgotten_once_its_token_has_expired(world: World) -> None:
    assert await revoke_access_token(world.store, "jti", world.time + 10)
    assert not await revoke_access_token(world.store, "jti", world.time + 10)
    assert await purge(world.store, world.time + 9) == 0
    assert await purge(world.store, world.time + 11) == 1


async def test_only_a_confidential_client_can_be_a_resource_server(world: World) -> None:
    with pytest.raises(UsageError):
        await world.client(public=True, introspects=[RESOURCE])
    with pytest.raises(UsageError):
        await world.client(introspects=["not a uri"])
