"""Real servers on loopback for the fetcher: one plain, one behind TLS with a throwaway authority."""

import asyncio
import datetime as dt
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "issuer.example"
Entry = tuple[int, int, int, str, tuple[str, int]]


class Site:
    """The ASGI app behind both servers; `seen` are the paths that were asked for."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.seen.append(path)
        if path == "/silent":
            await receive()
            await receive()  # returns when the client has gone
        elif path == "/drip":
            await self._drip(receive, send)
        elif path == "/big":
            await _answer(send, 200, [], b"x" * int(scope["query_string"].decode().partition("&")[0]))
        elif path.startswith("/redirect/"):
            await _answer(send, int(path.rpartition("/")[2]), [(b"location", b"/target")], b"")
        elif path == "/repeated":
            headers = [(b"www-authenticate", b'Basic realm="a"'), (b"WWW-Authenticate", b'Bearer scope="b"')]
            await _answer(send, 401, headers, b"")
        elif path == "/deep":
            await _answer(send, 200, [], b"[" * 50_000)
        elif path == "/text":
            await _answer(send, 200, [], b"<html>")
        else:
            await self._echo(scope, receive, send)

    async def _echo(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        echo = {"method": scope["method"], "headers": headers, "body": message.get("body", b"").decode()}
        await _answer(send, 200, [], json.dumps(echo).encode())

    async def _drip(self, receive: Any, send: Any) -> None:
        """A byte every 50 ms, for as long as somebody listens: no single read ever times out."""
        await receive()
        gone = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.wait([gone], timeout=0.05)


async def _answer(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def _serving(site: Site, **tls: Any) -> Iterator[int]:
    """Serves `site` in a thread. The socket listens before the thread runs, so nobody has to wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(site, log_config=None, lifespan="off", ws="none", loop="asyncio", **tls)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def _site() -> Site:
    return Site()


@pytest.fixture
def seen(_site: Site) -> list[str]:
    """The paths that this test asked for."""
    _site.seen.clear()
    return _site.seen


@pytest.fixture(scope="session")
def http_port(_site: Site) -> Iterator[int]:
    with _serving(_site) as port:
        yield port


@pytest.fixture(scope="session")
def https_port(_site: Site, _certificate: tuple[Path, Path]) -> Iterator[int]:
    """Its certificate is for issuer.example and 127.0.0.1."""
    chain, key = _certificate
    with _serving(_site, ssl_certfile=str(chain), ssl_keyfile=str(key)) as port:
        yield port


@pytest.fixture(scope="session")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throwaway")]), dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(HOST), x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    chain_file, key_file = folder / "chain.pem", folder / "key.pem"
    chain_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain_file, key_file


@pytest.fixture(scope="session")
def trust(_certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """A client that trusts the throwaway authority and nobody else."""
    return ssl.create_default_context(cafile=_certificate[0])


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`resolver(answers…)` puts a name service in the system's place, at the lowest place that Python has.

    Each answer is the addresses of one look-up; the last is given again and again. Returns the names looked up so far.
    """

    def install(*answers: list[str]) -> list[str]:
        asked: list[str] = []

        def getaddrinfo(host: bytes | str, port: int, *_args: Any, **_kwargs: Any) -> list[Entry]:
            asked.append(host.decode() if isinstance(host, bytes) else host)
            addresses = answers[min(len(asked), len(answers)) - 1]
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [(_family(address), socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return install


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
