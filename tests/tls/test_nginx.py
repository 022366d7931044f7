"""The rendered configuration in a real nginx, in front of two real uvicorn servers."""

import contextlib
import json
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from garrison.tls.authority import CertificatePaths
from garrison.tls.context import client_context
from garrison.tls.nginx import NginxSettings, render
from tests.tls.conftest import DEADLINE, Openssl, Serve, free_ports, running_nginx

pytestmark = pytest.mark.needs("nginx")

FIXED = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
AWAY = "http://authorization_server/callback?code=1"
OWN_POLICY = "default-src 'self'; frame-ancestors 'none'"
LAX = {
    "strict-transport-security": "max-age=1",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "unsafe-url",
    "x-powered-by": "a framework",
}


@dataclass(frozen=True)
class Front:
    auth: int
    mcp: int
    http: int
    ca: Path
    folder: Path
    more_events: threading.Event


class Upstream:
    """Says what reached it; `/mcp` asked with GET is an event stream whose second event waits for the test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.more_events = threading.Event()
        routes = [
            Route("/page", self.page),
            Route("/steer", self.steer),
            Route("/leave", self.leave),
            Route("/{path:path}", self.echo, methods=["GET", "POST", "DELETE"]),
        ]
        self.app = Starlette(routes=routes)

    async def echo(self, request: Request) -> Response:
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(self.events(), media_type="text/event-stream")
        size = len(await request.body())
        raw_path, query = request.scope["raw_path"].decode(), request.scope["query_string"].decode()
        told = {"upstream": self.name, "path": raw_path, "query": query, "size": size}
        told["http"] = request.scope["http_version"]
        return JSONResponse({**told, "headers": request.headers.items()})

    async def events(self) -> AsyncIterator[str]:
        yield "data: first\n\n"
        with anyio.fail_after(DEADLINE):
            await anyio.to_thread.run_sync(self.more_events.wait, DEADLINE, abandon_on_cancel=True)
        yield "data: second\n\n"

    async def page(self, request: Request) -> Response:
        return Response("<p>", media_type="text/html", headers={**LAX, "content-security-policy": OWN_POLICY})

    async def leave(self, request: Request) -> Response:
        return Response(status_code=303, headers={"location": AWAY})

    async def steer(self, request: Request) -> Response:
        return Response("mine", headers={"x-accel-redirect": "/echo"})


@pytest.fixture(scope="module")
def front(paths: CertificatePaths, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    auth_server, mcp_server = Upstream("auth"), Upstream("mcp")
    auth, mcp, http = free_ports(3)
    folder = tmp_path_factory.mktemp("nginx")
    settings = NginxSettings(
        certificate=paths.server,
        key=paths.server_key,
        auth_upstream=f"127.0.0.1:{serve(auth_server.app)}",
        mcp_upstream=f"127.0.0.1:{serve(mcp_server.app)}",
        run_folder=folder,
        auth_port=auth,
        mcp_port=mcp,
        http_port=http,
        addresses=("127.0.0.1",),
        access_log=str(folder / "access.log"),
        error_log=str(folder / "error.log"),
        client_timeout=1,
        user="root" if os.geteuid() == 0 else None,
        mcp_max_body=100_000,
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(render(settings))
    with running_nginx(configuration, http):
        yield Front(auth, mcp, http, paths.ca, folder, mcp_server.more_events)


@pytest.fixture
async def client(front: Front) -> AsyncIterator[httpx2.AsyncClient]:
    context = client_context(front.ca)
    async with httpx2.AsyncClient(verify=context, trust_env=False, timeout=DEADLINE) as client:
        yield client


def told(response: httpx2.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def headers_told(response: httpx2.Response) -> list[tuple[str, str]]:
    return [(name, value) for name, value in told(response)["headers"]]


def raw(front: Front, port: int, request: str) -> str:
    """What nginx answers to these very bytes."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE))
        if port != front.http:
            connection = stack.enter_context(
                client_context(front.ca).wrap_socket(connection, server_hostname="localhost")
            )
        connection.sendall(request.encode())
        answer = b""
        with contextlib.suppress(ssl.SSLEOFError):
            while chunk := connection.recv(65_536):
                answer += chunk
    return answer.decode("latin-1")


def status(answer: str) -> int:
    return int(answer.split(" ", 2)[1])


def session(openssl: Openssl, port: int, *options: str) -> str:
    done = openssl("s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *options)
    return done.stdout + done.stderr


# TLS


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_tls_1_2_and_1_3_are_served_on_both_ports(openssl: Openssl, front: Front, option: str, version: str) -> None:
    for port in (front.auth, front.mcp):
        assert f"New, {version}, Cipher is " in session(openssl, port, option)


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused(openssl: Openssl, front: Front, option: str) -> None:
    for port in (front.auth, front.mcp):
        assert "alert protocol version" in session(openssl, port, option, "-cipher", "ALL:@SECLEVEL=0")


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-CCM"])
def test_ciphers_without_modern_authenticated_encryption_are_refused(
    openssl: Openssl, front: Front, cipher: str
) -> None:
    options = ("-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert "alert handshake failure" in session(openssl, front.auth, *options)


def test_openssl_verifies_the_chain_and_the_name(openssl: Openssl, front: Front) -> None:
    options = ("-CAfile", str(front.ca), "-verify_hostname", "localhost", "-verify_return_error", "-x509_strict")
    assert "Verify return code: 0 (ok)" in session(openssl, front.mcp, *options)


def test_http_2_is_offered(openssl: Openssl, front: Front) -> None:
    for port in (front.auth, front.mcp):
        assert "ALPN protocol: h2" in session(openssl, port, "-alpn", "h2,http/1.1")


def test_no_session_is_kept_to_be_resumed(openssl: Openssl, front: Front) -> None:
    again = session(openssl, front.auth, "-tls1_2", "-reconnect")
    assert again.count("New, TLSv1.2") == 6
    assert "Reused" not in again
    assert "TLS session ticket" not in again
    assert "    Session-ID: \n" in again


# Headers


@pytest.mark.parametrize("path", ["/page", "/api"])
async def test_each_security_header_stands_once_whatever_the_upstream_sent(
    client: httpx2.AsyncClient, front: Front, path: str
) -> None:
    response = await client.get(f"https://localhost:{front.auth}{path}")
    assert {name: response.headers.get_list(name) for name in FIXED} == {name: [value] for name, value in FIXED.items()}


async def test_a_page_keeps_its_own_content_security_policy(client: httpx2.AsyncClient, front: Front) -> None:
    response = await client.get(f"https://localhost:{front.auth}/page")
    assert response.headers.get_list("content-security-policy") == [OWN_POLICY]


async def test_an_answer_without_a_policy_gets_the_strictest(client: httpx2.AsyncClient, front: Front) -> None:
    for url in (f"https://localhost:{front.auth}/api", f"https://localhost:{front.mcp}/nothing"):
        policies = (await client.get(url)).headers.get_list("content-security-policy")
        assert policies == ["default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"]


async def test_nginxs_own_errors_carry_the_headers_too_and_no_version(client: httpx2.AsyncClient, front: Front) -> None:
    response = await client.get(f"https://localhost:{front.mcp}/nothing")
    assert response.status_code == 404
    assert FIXED.items() <= response.headers.items()
    assert response.headers["server"] == "nginx"
    assert "nginx/" not in response.text


async def test_what_an_upstream_is_made_of_is_not_told(client: httpx2.AsyncClient, front: Front) -> None:
    response = await client.get(f"https://localhost:{front.auth}/page")
    assert "x-powered-by" not in response.headers
    assert response.headers["server"] == "nginx"


async def test_a_redirect_of_the_upstream_is_not_rewritten(client: httpx2.AsyncClient, front: Front) -> None:
    response = await client.get(f"https://localhost:{front.auth}/leave")
    assert response.headers["location"] == AWAY


async def test_an_upstream_can_not_steer_the_proxy(client: httpx2.AsyncClient, front: Front) -> None:
    assert (await client.get(f"https://localhost:{front.auth}/steer")).text == "mine"


# Plain HTTP


async def test_plain_http_is_sent_on_to_tls(client: httpx2.AsyncClient, front: Front) -> None:
    response = await client.get(f"http://localhost:{front.http}/authorize?a=%2F&b")
    assert response.status_code == 301
    assert response.headers["location"] == f"https://localhost:{front.auth}/authorize?a=%2F&b"
    assert "strict-transport-security" not in response.headers, "RFC 6797 section 7.2"


async def test_a_post_over_plain_http_is_refused(client: httpx2.AsyncClient, front: Front) -> None:
    assert (await client.post(f"http://localhost:{front.http}/token", content=b"secret")).status_code == 403


@pytest.mark.parametrize("target", ["http://evil.example/", "//evil.example/", "@evil.example/", "/\\evil.example"])
def test_the_redirect_never_leaves_this_server(front: Front, target: str) -> None:
    answer = raw(front, front.http, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    location = [line for line in answer.splitlines() if line.lower().startswith("location:")]
    assert status(answer) in {400, 421} or location[0].startswith(f"Location: https://localhost:{front.auth}/")


# Hosts


@pytest.mark.parametrize(
    "request_head",
    [
        "GET / HTTP/1.1\r\nHost: evil.example\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        "GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n",
        "GET https://evil.example/ HTTP/1.1\r\nHost: localhost\r\n",
        "GET / HTTP/1.0\r\n",
    ],
)
def test_an_unknown_host_is_refused_on_every_port(front: Front, request_head: str) -> None:
    for port in (front.auth, front.mcp, front.http):
        assert status(raw(front, port, f"{request_head}Connection: close\r\n\r\n")) == 421


@pytest.mark.parametrize(
    "hosts", ["Host: localhost\r\nHost: evil.example\r\n", "Host: local host\r\n", "Host: a/b?x\r\n"]
)
def test_a_host_that_can_be_read_in_two_ways_is_refused(front: Front, hosts: str) -> None:
    assert status(raw(front, front.auth, f"GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")) == 400


# What the upstreams see


async def test_each_port_reaches_its_own_upstream_by_its_public_name(client: httpx2.AsyncClient, front: Front) -> None:
    for name, port, path in (("auth", front.auth, "/token"), ("mcp", front.mcp, "/mcp")):
        response = await client.get(f"https://localhost:{port}{path}")
        assert told(response)["upstream"] == name
        assert [value for key, value in headers_told(response) if key == "host"] == [f"localhost:{port}"]


FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Real-IP": "203.0.113.9",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=203.0.113.9;host=evil.example",
    "X-Original-URL": "/admin",
    "X-Rewrite-URL": "/admin",
    "Proxy": "http://evil.example",
    "X_Forwarded_For": "203.0.113.9",
}


@pytest.mark.parametrize(("server", "path"), [("auth", "/token"), ("mcp", "/mcp"), ("mcp", "/.well-known/x")])
async def test_what_a_client_forges_about_itself_is_replaced(
    client: httpx2.AsyncClient, front: Front, server: str, path: str
) -> None:
    port = front.auth if server == "auth" else front.mcp
    seen = headers_told(await client.get(f"https://localhost:{port}{path}", headers=FORGED))
    names = {name.lower().replace("_", "-") for name in FORGED}
    assert sorted((name, value) for name, value in seen if name.replace("_", "-") in names) == [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", f"localhost:{port}"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "127.0.0.1"),
    ]


async def test_connections_to_the_upstream_are_kept(client: httpx2.AsyncClient, front: Front) -> None:
    for url in (f"https://localhost:{front.auth}/token", f"https://localhost:{front.mcp}/mcp"):
        response = await client.get(url)
        assert told(response)["http"] == "1.1"
        assert "connection" not in dict(headers_told(response))


async def test_the_access_token_reaches_the_upstream(client: httpx2.AsyncClient, front: Front) -> None:
    response = await client.get(f"https://localhost:{front.mcp}/mcp", headers={"Authorization": "Bearer x"})
    assert ("authorization", "Bearer x") in headers_told(response)


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_mcp_with_and_without_the_slash_is_one_endpoint(
    client: httpx2.AsyncClient, front: Front, path: str
) -> None:
    response = await client.post(f"https://localhost:{front.mcp}{path}?a=%20b", content=b"{}")
    assert (told(response)["path"], told(response)["query"], told(response)["size"]) == ("/mcp", "a=%20b", 2)


@pytest.mark.parametrize("target", ["/%6dcp", "/x/../mcp", "//mcp", "/.well-known/..%2fmcp", "/mcp/%2e"])
def test_the_endpoint_by_another_spelling_is_still_only_the_endpoint(front: Front, target: str) -> None:
    answer = raw(front, front.mcp, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status(answer) == 200
    assert json.loads(answer[answer.index("{") : answer.rindex("}") + 1])["path"] == "/mcp"


async def test_metadata_reaches_the_mcp_server(client: httpx2.AsyncClient, front: Front) -> None:
    path = "/.well-known/oauth-protected-resource/mcp"
    assert told(await client.get(f"https://localhost:{front.mcp}{path}"))["path"] == path


@pytest.mark.parametrize("path", ["/", "/mcp/x", "/mcpx", "/admin", "/.well-known", "/.well-known/../admin"])
def test_nothing_else_of_the_mcp_server_can_be_reached(front: Front, path: str) -> None:
    answer = raw(front, front.mcp, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status(answer) == 404


@pytest.mark.parametrize("target", ["/a%2Fb", "/a/../b", "/a/%2e%2e/b", "//a", "/a;b=%3F?x=%00"])
def test_the_authorization_server_sees_the_path_byte_for_byte(front: Front, target: str) -> None:
    answer = raw(front, front.auth, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    seen = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
    assert seen["path"] + ("?" + seen["query"] if seen["query"] else "") == target


async def test_an_event_arrives_before_the_next_one_is_sent(client: httpx2.AsyncClient, front: Front) -> None:
    front.more_events.clear()
    url, accept = f"https://localhost:{front.mcp}/mcp", {"accept": "text/event-stream"}
    async with client.stream("GET", url, headers=accept) as response:
        chunks = response.aiter_text()
        assert await anext(chunks) == "data: first\n\n"
        front.more_events.set()
        assert await anext(chunks) == "data: second\n\n"


# Exhaustion


@pytest.mark.parametrize(("server", "limit"), [("auth", 65_536), ("mcp", 100_000)])
async def test_a_body_over_the_limit_is_refused(
    client: httpx2.AsyncClient, front: Front, server: str, limit: int
) -> None:
    url = f"https://localhost:{front.auth}/token" if server == "auth" else f"https://localhost:{front.mcp}/mcp"
    assert told(await client.post(url, content=b"x" * limit))["size"] == limit
    assert (await client.post(url, content=b"x" * (limit + 1))).status_code == 413


async def test_no_body_is_written_to_disk(client: httpx2.AsyncClient, front: Front) -> None:
    await client.post(f"https://localhost:{front.auth}/token", content=b"x" * 65_536)
    await client.post(f"https://localhost:{front.mcp}/mcp", content=b"x" * 100_000)
    assert "temporary file" not in (front.folder / "error.log").read_text()


@pytest.mark.parametrize("rest", ["", "Content-Length: 9\r\n\r\nx"])
def test_a_client_that_sends_drop_by_drop_is_not_waited_for(front: Front, rest: str) -> None:
    for port in (front.auth, front.mcp):
        answer = raw(front, port, f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{rest}")
        assert not answer or status(answer) == 408


async def test_a_chunked_body_over_the_limit_is_refused(client: httpx2.AsyncClient, front: Front) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 10_000

    response = await client.post(f"https://localhost:{front.mcp}/mcp", content=chunks())
    assert response.status_code == 413


async def test_the_access_log_keeps_no_query(client: httpx2.AsyncClient, front: Front) -> None:
    url = f"https://localhost:{front.auth}/authorize?state=canary"
    for _ in range(2):  # on one connection, nginx writes of the first request before it reads the second
        await client.get(url, headers={"Referer": "canary"})
    log = (front.folder / "access.log").read_text()
    assert '"GET /authorize HTTP/1.1" 200' in log
    assert "canary" not in log
