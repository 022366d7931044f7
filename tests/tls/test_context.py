"""RFC 9325, seen from both ends of real connections."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from garrison.base.errors import GarrisonError
from garrison.tls import issue
from garrison.tls.authority import CertificatePaths
from garrison.tls.context import client_context, server_context
from tests.tls.conftest import Openssl, Serve


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


@pytest.fixture(scope="module")
def port(serve: Serve, paths: CertificatePaths) -> int:
    return serve(Starlette(routes=[Route("/", hello)]), server_context(paths.server, paths.server_key))


async def get(url: str, ca_file: Path | None) -> str:
    async with httpx2.AsyncClient(verify=client_context(ca_file), trust_env=False) as client:
        return (await client.get(url)).text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_client_that_trusts_the_local_ca_is_answered(port: int, paths: CertificatePaths, host: str) -> None:
    assert await get(f"https://{host}:{port}/", paths.ca) == "hello"


async def test_a_client_that_does_not_know_the_ca_is_not(port: int) -> None:
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await get(f"https://localhost:{port}/", None)


async def test_a_server_by_another_name_is_refused(port: int, paths: CertificatePaths) -> None:
    other = {"sni_hostname": "mcp.example.com"}
    async with httpx2.AsyncClient(verify=client_context(paths.ca), trust_env=False) as client:
        with pytest.raises(httpx2.ConnectError, match="Hostname mismatch"):
            await client.get(f"https://localhost:{port}/", extensions=other)


NO_SESSION = "New, (NONE), Cipher is (NONE)"


def session(openssl: Openssl, port: int, *options: str) -> str:
    done = openssl("s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *options)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_tls_1_2_and_1_3_are_served(openssl: Openssl, port: int, option: str, version: str) -> None:
    assert f"New, {version}, Cipher is " in session(openssl, port, option)


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused(openssl: Openssl, port: int, option: str) -> None:
    assert NO_SESSION in session(openssl, port, option, "-cipher", "ALL:@SECLEVEL=0")


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-CCM8"])
def test_ciphers_without_modern_authenticated_encryption_are_refused(openssl: Openssl, port: int, cipher: str) -> None:
    assert NO_SESSION in session(openssl, port, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")


def test_the_refusal_of_old_versions_is_our_own(paths: CertificatePaths) -> None:
    """Debian's OpenSSL refuses them too, so a handshake can't tell whose refusal it is."""
    assert server_context(paths.server, paths.server_key).minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_server_gives_no_session_ticket(openssl: Openssl, port: int) -> None:
    assert "TLS session ticket" not in session(openssl, port, "-tls1_2")


def test_one_context_serves_all_clients_that_trust_the_same(paths: CertificatePaths) -> None:
    assert client_context(paths.ca) is client_context(paths.ca)
    assert client_context() is client_context()
    assert client_context() is not client_context(paths.ca)


def test_a_new_ca_under_the_old_name_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(issue.create_authority(1_700_000_000).certificate_pem)
    before = client_context(file)
    file.write_bytes(issue.create_authority(1_700_000_000).certificate_pem)
    assert client_context(file) is not before


def test_a_client_context_verifies_and_speaks_tls_1_2_at_least(paths: CertificatePaths) -> None:
    for context in (client_context(), client_context(paths.ca)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_systems_cas_are_trusted_beside_the_local_one(paths: CertificatePaths) -> None:
    system = set(ssl.create_default_context().get_ca_certs(binary_form=True))
    local = ssl.PEM_cert_to_DER_cert(paths.ca.read_text())
    assert set(client_context(paths.ca).get_ca_certs(binary_form=True)) == system | {local}


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_a_ca_file_without_a_ca_is_an_error_and_not_ignored(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(GarrisonError, match="There is no CA certificate in"):
        client_context(file)


def test_a_certificate_and_another_ones_key_are_refused(tmp_path: Path, paths: CertificatePaths) -> None:
    other = tmp_path / "key.pem"
    other.write_bytes(issue.new_key())
    with pytest.raises(GarrisonError, match="key values mismatch"):
        server_context(paths.server, other)


def test_a_missing_certificate_is_named(tmp_path: Path, paths: CertificatePaths) -> None:
    with pytest.raises(GarrisonError, match=r"absent.pem .* no such file"):
        server_context(tmp_path / "absent.pem", paths.server_key)


def test_an_encrypted_key_is_refused_instead_of_asking_for_its_password(
    tmp_path: Path, paths: CertificatePaths
) -> None:
    encrypted = tmp_path / "key.pem"
    encrypted.write_bytes(
        issue.load_key(paths.server_key.read_bytes()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(GarrisonError, match="key is encrypted"):
        server_context(paths.server, encrypted)


ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


@pytest.mark.parametrize(("file", "trusted"), [("ca-bundle.pem", True), (None, False)])
def test_any_openssl_program_trusts_the_server_by_ssl_cert_file(
    port: int, paths: CertificatePaths, file: str | None, trusted: bool
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "SSL_CERT_FILE"}
    if file:
        environment["SSL_CERT_FILE"] = str(paths.ca.parent / file)
    command = [sys.executable, "-c", ASK, f"https://localhost:{port}/"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout == "hello\n") is trusted
    assert ("CERTIFICATE_VERIFY_FAILED" in done.stderr) is not trusted


def test_a_machine_whose_openssl_knows_no_cas_still_trusts_the_public_ones() -> None:
    code = "from garrison.tls.context import client_context; print(client_context().cert_store_stats()['x509_ca'] > 50)"
    environment = {**os.environ, "SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
