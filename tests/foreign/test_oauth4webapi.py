"""npm's oauth4webapi, which takes the specifications at their word, gets through every grant and endpoint."""

import json
from pathlib import Path

import anyio
import httpx2
import pytest

from garrison.authserver import admin
from garrison.demo.browser import sign_in_and_consent
from garrison.oauth import jwks
from tests.authserver.world import CHEAP
from tests.foreign.town import environment, new_resource, node, town

SCOPE = "math:use"
CALLBACK = "https://app.example/callback"
SCRIPT = Path(__file__).with_name("oauth4webapi.mjs")


@pytest.mark.needs("oauth4webapi")
@pytest.mark.xdist_group("npm")
async def test_oauth4webapi_gets_through_every_grant_and_endpoint(tmp_path: Path) -> None:
    """Discovery, code with PKCE and `iss`, RFC 9068, introspection, refresh, revocation, private_key_jwt."""
    resource, key = new_resource(), jwks.new_signing_key("ES256")
    async with town(tmp_path, {resource: frozenset({SCOPE})}) as place:
        grants, machine = ["authorization_code", "refresh_token"], ["client_credentials"]
        client = await admin.add_client(place.store, "App", grants=grants, scope=SCOPE, redirect_uris=[CALLBACK])
        server = await admin.add_client(place.store, "Server", grants=machine, scope=SCOPE, introspects=[resource])
        keys = jwks.public_set([key])
        robot = await admin.add_client(
            place.store, "Robot", grants=machine, scope=SCOPE, method="private_key_jwt", jwks=keys
        )
        user = await admin.add_user(place.store, "alice", scope=SCOPE, cost=CHEAP)
        told = {
            "issuer": place.issuer,
            "resource": resource,
            "redirectUri": CALLBACK,
            "scope": SCOPE,
            "client": {"id": client.client_id, "secret": client.client_secret},
            "server": {"id": server.client_id, "secret": server.client_secret},
            "robot": {"id": robot.client_id, "key": {**key.private.as_dict(private=True), "kid": key.kid}},
        }
        with anyio.fail_after(100):
            command = [node(), str(SCRIPT), json.dumps(told)]
            async with await anyio.open_process(command, env=environment(tmp_path), stderr=None) as process:
                assert process.stdout
                assert process.stdin
                link = await process.stdout.receive()
                async with httpx2.AsyncClient(trust_env=False) as browser:
                    typed = {"username": user.username, "password": user.password}
                    answer = await sign_in_and_consent(browser, link.decode().strip(), CALLBACK, typed)
                await process.stdin.send(answer.encode())
                await process.stdin.aclose()
                found = json.loads(b"".join([chunk async for chunk in process.stdout]))
    assert found == {
        "refused": ["OAUTH_INVALID_RESPONSE", "OAUTH_INVALID_RESPONSE"],
        "user": "alice",
        "told": "alice",
        "rotated": True,
        "active": [True, False],
        "robot": True,
    }
