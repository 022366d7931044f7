"""What is refused, and how: bad tokens, missing scopes, arguments that don't fit, too many calls."""

import json
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import Any

import httpx2

from garrison.authserver.admin import add_client, open_store
from garrison.authserver.key_schedule import signing
from garrison.authserver.keys import list_keys
from garrison.demo.scene import Scene, Step, expect, expect_status
from garrison.demo.wire import call_tool, result
from garrison.oauth import challenge
from garrison.oauth.access_token import issue
from garrison.oauth.basic import render_basic
from garrison.oauth.jwks import SigningKey, new_signing_key

CALL: tuple[str, dict[str, Any]] = ("get_customer_info", {"customer_id": "ABC123"})
LIFETIME = 300


def _token(scene: Scene, key: SigningKey, *, audience: str | None = None, now: float | None = None) -> str:
    return issue(
        key,
        issuer=scene.at.issuer,
        subject="mallory",
        client_id="mallory",
        audience=audience or scene.at.resource,
        scope=["customer:read"],
        now=time.time() if now is None else now,
        lifetime=LIFETIME,
        jti=secrets.token_hex(8),
    )


async def _refused(scene: Scene, token: str) -> str:
    """The call is answered 401 with error=invalid_token; what the server says about it."""
    response = await call_tool(scene.http, scene.at.resource, token, *CALL)
    expect_status(response, 401)
    found = challenge.bearer([response.headers["www-authenticate"]])
    expect(found and found.params.get("error") == "invalid_token", "the challenge does not say invalid_token")
    return f"401: {found.params.get('error_description', 'invalid_token') if found else ''}"


async def forged(scene: Scene) -> str:
    kid = (await _signing_key(scene)).kid
    return await _refused(scene, _token(scene, replace(new_signing_key(), kid=kid)))


async def alg_none(scene: Scene) -> str:
    def part(value: dict[str, Any]) -> str:
        return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    _, payload, _ = _token(scene, new_signing_key("ES256")).split(".")
    return await _refused(scene, f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{payload}.")


async def other_resource(scene: Scene) -> str:
    key = await _signing_key(scene)
    return await _refused(scene, _token(scene, key, audience="https://payments.example/mcp"))


async def expired(scene: Scene) -> str:
    key = await _signing_key(scene)
    return await _refused(scene, _token(scene, key, now=time.time() - 2 * LIFETIME))


async def missing_scope(scene: Scene) -> str:
    token = await _fresh_token(scene, "reader", "customer:read")
    arguments = {"customer_id": "XYZ789", "subject": "Hello", "description": "Hello", "priority": "low"}
    response = await call_tool(scene.http, scene.at.resource, token, "create_support_ticket", arguments)
    expect_status(response, 403)
    found = challenge.bearer([response.headers["www-authenticate"]])
    params = found.params if found else {}
    expect(params.get("error") == "insufficient_scope", "the challenge does not say insufficient_scope")
    expect("ticket:create" in params.get("scope", ""), "the challenge does not name ticket:create")
    return f"403 insufficient_scope, scope={params['scope']!r}"


async def bad_customer_id(scene: Scene) -> str:
    arguments = {"customer_id": "ABC123'; DROP TABLE customers;--"}
    response = await call_tool(scene.http, scene.at.resource, scene.known("token"), "get_customer_info", arguments)
    message = result(response)
    outcome = message.get("result", {})
    expect("error" in message or outcome.get("isError"), "the argument was accepted")
    said = message.get("error", {}).get("message") or " ".join(b.get("text", "") for b in outcome.get("content", []))
    expect("DROP TABLE" not in said, "the answer repeats what was sent")
    return said.replace("\n", " ")


async def too_many(scene: Scene) -> str:
    token = await _fresh_token(scene, "eager", "customer:read")
    per_minute = 60
    for _ in range(per_minute):
        expect_status(await _answered(scene, token), 200)
    response = await _answered(scene, token)
    expect_status(response, 429)
    wait = response.headers.get("retry-after", "")
    expect(wait.isdecimal() and 1 <= int(wait) <= per_minute, f"Retry-After is {wait!r}")
    return f"call {per_minute + 1} of the minute: 429, Retry-After {wait} s"


async def _answered(scene: Scene, token: str) -> httpx2.Response:
    return await call_tool(scene.http, scene.at.resource, token, *CALL)


async def _signing_key(scene: Scene) -> SigningKey:
    """The server's own: these tokens are wrong in one thing each, and their signature isn't it."""
    async with open_store(scene.database_url) as store:
        return signing(await list_keys(store, scene.home.read_secret()), time.time())


async def _fresh_token(scene: Scene, name: str, scope: str) -> str:
    """A token of a new client, so that what it does counts on nobody else's budget."""
    async with open_store(scene.database_url) as store:
        client = await add_client(
            store, name, grants=["client_credentials"], scope=scope, resources=[scene.at.resource]
        )
    form = {"grant_type": "client_credentials", "scope": scope, "resource": scene.at.resource}
    headers = {"authorization": render_basic(client.client_id, client.client_secret or "")}
    response = await scene.http.post(scene.known("server").token_endpoint, data=form, headers=headers)
    expect_status(response, 200)
    return str(response.json()["access_token"])


STEPS: tuple[tuple[str, Step], ...] = (
    ("a forged token is refused", forged),
    ("a token with alg none is refused", alg_none),
    ("a token for another resource is refused", other_resource),
    ("an expired token is refused", expired),
    ("a missing scope is answered with the scope to ask for", missing_scope),
    ("a bad customer id is refused", bad_customer_id),
    ("the 61st request in a minute is refused", too_many),
)
