"""Serving: taken ports are said, plain HTTP stays on loopback, both loopback addresses answer, servers end."""

import socket

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from garrison.base.errors import GarrisonError, UsageError
from garrison.serving import Endpoint, bind, check_plain_http, free_port, running


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def taken_port() -> tuple[socket.socket, int]:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken, taken.getsockname()[1]


def test_a_taken_port_is_named_with_its_server_and_the_option_to_change_it() -> None:
    taken, port = taken_port()
    with taken, pytest.raises(GarrisonError, match=f"port {port} for the MCP server is taken") as caught:
        bind("MCP server", "localhost", port, option="--mcp-port")
    assert "--mcp-port" in caught.value.hint


def test_a_free_port_is_the_preferred_one_unless_it_is_taken() -> None:
    taken, port = taken_port()
    with taken:
        assert free_port("localhost", port) != port
    assert free_port("localhost", port) == port


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::", ""])
def test_plain_http_is_refused_off_loopback(host: str) -> None:
    with pytest.raises(UsageError, match="loopback only"):
        check_plain_http(host, behind_proxy=False)
    check_plain_http(host, behind_proxy=True)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_plain_http_is_served_on_loopback(host: str) -> None:
    check_plain_http(host, behind_proxy=False)


async def test_localhost_answers_on_both_of_its_addresses_and_then_no_more() -> None:
    port = free_port("localhost", 0)
    sockets = bind("server", "localhost", port)
    hosts = ["127.0.0.1", "[::1]"][: len(sockets)]
    async with httpx2.AsyncClient(trust_env=False) as http:
        async with running(Endpoint("server", app, sockets)):
            for host in hosts:
                assert (await http.get(f"http://{host}:{port}/")).text == "hello"
        with pytest.raises(httpx2.ConnectError):
            await http.get(f"http://127.0.0.1:{port}/")


async def test_an_application_that_does_not_start_is_an_error() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(GarrisonError, match="the server did not start"):
        async with running(Endpoint("server", broken, bind("server", "127.0.0.1", 0))):
            pass
