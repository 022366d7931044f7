"""What the tests of factors do as a user: sign in, confirm, set up an app, add a passkey."""

import json
import re
from base64 import b32decode
from html import unescape
from typing import Any

import httpx2

from garrison.oauth import totp
from tests.authserver.authenticator import Authenticator
from tests.authserver.world import PASSWORD, Forms, World

ACCOUNT, OVERVIEW = "/account/grants", "/account/sign-in"


async def show_password(world: World, browser: httpx2.AsyncClient, username: str = "alice") -> httpx2.Response:
    response = await world.sign_in(browser, "/login", username)
    assert response.status_code == 303, response.text
    return response


async def signed_in(browser: httpx2.AsyncClient) -> bool:
    return (await browser.get(ACCOUNT)).status_code == 200


async def type_code(browser: httpx2.AsyncClient, code: str, location: str = "/factor") -> httpx2.Response:
    """From the page that asks for a code to what its form answers."""
    page = await browser.get(location)
    assert page.status_code == 200, page.text
    return await browser.post("/factor", data={**Forms(page.text).fields("/factor"), "code": code})


async def confirm(browser: httpx2.AsyncClient, change: str, proof: str = PASSWORD, target: str = "") -> httpx2.Response:
    """From the page that asks for the password or a code again to what its form answers."""
    page = await browser.get("/account/confirm", params={"do": change, **({"target": target} if target else {})})
    assert page.status_code == 200, page.text
    return await browser.post("/account/confirm", data={**Forms(page.text).fields("/account/confirm"), "proof": proof})


async def app_page(browser: httpx2.AsyncClient) -> httpx2.Response:
    response = await confirm(browser, "add-app")
    assert response.status_code == 303, response.text
    return await browser.get(response.headers["location"])


def shown_secret(page: httpx2.Response) -> bytes:
    found = re.search(r'<p class="secret"><code>([A-Z2-7 ]+)</code>', page.text)
    assert found, page.text
    return b32decode(found[1].replace(" ", ""))


def code(world: World, secret: bytes, steps: int = 0) -> str:
    """What the app shows, so many steps from now."""
    return totp.code(secret, int(world.time // totp.STEP) + steps)


async def set_up_app(world: World, browser: httpx2.AsyncClient) -> tuple[bytes, list[str]]:
    """The secret and the recovery codes; a step later, so that the next code is a new one."""
    page = await app_page(browser)
    secret = shown_secret(page)
    fields = Forms(page.text).fields("/account/app")
    done = await browser.post("/account/app", data={**fields, "code": code(world, secret)})
    assert done.status_code == 200, done.text
    world.time += totp.STEP
    return secret, shown_recovery_codes(done)


def shown_recovery_codes(page: httpx2.Response) -> list[str]:
    return re.findall(r"<li><code>([a-z2-7-]+)</code></li>", page.text)


def options(page: httpx2.Response) -> dict[str, Any]:
    """What the page's script asks the authenticator."""
    found = re.search(r'data-options="([^"]+)"', page.text)
    assert found, page.text
    read: dict[str, Any] = json.loads(unescape(found[1]))
    return read


async def passkey_page(browser: httpx2.AsyncClient) -> httpx2.Response:
    """Where a passkey is added."""
    response = await confirm(browser, "add-passkey")
    assert response.status_code == 303, response.text
    return await browser.get(response.headers["location"])


async def add_passkey(browser: httpx2.AsyncClient, device: Authenticator, **changes: str) -> httpx2.Response:
    page = await passkey_page(browser)
    fields = {
        **Forms(page.text).fields("/account/passkey"),
        "name": "My phone",
        "credential": device.create(options(page)),
    }
    return await browser.post("/account/passkey", data={**fields, **changes})


async def answer(
    browser: httpx2.AsyncClient, device: Authenticator, location: str = "/passkey", **changes: str
) -> httpx2.Response:
    """From the page that asks for a passkey to what its form answers."""
    page = await browser.get(location)
    assert page.status_code == 200, page.text
    fields = {**Forms(page.text).fields("/passkey"), "credential": device.get(options(page))}
    return await browser.post("/passkey", data={**fields, **changes})


async def sign_out(browser: httpx2.AsyncClient) -> None:
    await browser.post("/logout", data=Forms((await browser.get("/logout")).text).fields("/logout"))
