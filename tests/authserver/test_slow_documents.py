"""What strangers make the server fetch, however slowly it comes, keeps nobody waiting whom the operator knows."""

import socket
import threading

import anyio
import pytest

from garrison.authserver.app import ASKER_AT_ONCE, STRANGERS_AT_ONCE
from garrison.base.events import Kind
from tests.authserver.test_client_assertion import assertion
from tests.authserver.test_client_documents import known_by
from tests.authserver.world import World


async def test_54_slow_documents_keep_only_each_other_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answered, waiting, asked = threading.Event(), threading.Semaphore(0), list[str]()

    def look_up(host: str, *_args: object, **_named: object) -> list[object]:
        asked.append(host)
        if host == "slow.example":
            waiting.release()
            answered.wait()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("garrison.authserver.app.FETCH_TIMEOUT", 60)
    client = await world.client(method="private_key_jwt", jwks_uri="https://keys.example/jwks")
    app = await world.another_app(fetcher=None)

    async def authorize(url: str, address: str) -> str:
        async with world.browser(app, address) as browser:
            await browser.get("/authorize", params=world.authorization(known_by(url)))
        return str(world.events.of(Kind.CLIENT_REFUSED)[-1].detail["detail"])

    try:
        async with anyio.create_task_group() as tasks:
            for number in range(STRANGERS_AT_ONCE):
                address = f"198.51.{number // ASKER_AT_ONCE}.{number}"
                tasks.start_soon(authorize, f"https://slow.example/{number}.json", address)
                await anyio.to_thread.run_sync(waiting.acquire)
                if number == ASKER_AT_ONCE:
                    assert "too many others" in await authorize("https://mine.example/c.json", "198.51.0.99")
                    assert "too many others" not in await authorize("https://theirs.example/c.json", "203.0.113.7")
            assert "too many others" in await authorize("https://other.example/client.json", "203.0.113.7")
            form = {"grant_type": "client_credentials", "client_assertion": assertion(world, client)}
            async with world.browser(app) as http:
                response = await http.post(
                    "/token",
                    data={**form, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
                )
            assert response.status_code == 401
            tasks.cancel_scope.cancel()
    finally:
        answered.set()
    assert set(asked) == {"slow.example", "theirs.example", "keys.example"}, "the operator's client had its keys"
