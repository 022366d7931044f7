"""TLS contexts, RFC 9325 (BCP 195): version 1.2 and newer, forward secrecy, and verification that can't be turned off.

A context is made once and shared: loading the system's CAs costs 17 ms each time. For that reason this doesn't use
`truststore`, which on Linux loads them for every connection.
"""

import functools
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from garrison.base.errors import GarrisonError
from garrison.tls.bundle import certificates_in, system_authorities

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2 (OpenSSL's names): ephemeral keys and authenticated encryption alone. TLS 1.3 has no others."""


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """What a client trusts: the system's CAs and those in `ca_file`. The same object for the same CAs; don't alter it.

    Raises:
        GarrisonError: `ca_file` is missing or holds no certificate. Going on without it would only move the failure.
    """
    extra = certificates_in(ca_file) if ca_file else ()
    if ca_file and not extra:
        raise GarrisonError(
            f"There is no CA certificate in {ca_file}.",
            "Check TLS_CA_CERT_PATH and SSL_CERT_FILE, or make one with `garrison certs init`.",
        )
    return _client_context(extra)


def context_by_host(ca_file: Path, is_for: Callable[[str], bool]) -> ssl.SSLContext:
    """As `client_context`, but `ca_file` is trusted for the hosts of which `is_for` says so alone.

    Raises:
        GarrisonError: as `client_context`.
    """
    context = _ContextByHost(ssl.PROTOCOL_TLS_CLIENT)
    context.elsewhere, context.there, context.is_for = client_context(), client_context(ca_file), is_for
    return context


class _ContextByHost(ssl.SSLContext):
    """Hands each connection, as asyncio and anyio make it, to one of two contexts. It trusts nobody itself."""

    elsewhere: ssl.SSLContext
    there: ssl.SSLContext
    is_for: Callable[[str], bool]

    def _of(self, host: Any) -> ssl.SSLContext:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host  # httpcore gives bytes
        return self.there if isinstance(name, str) and self.is_for(name) else self.elsewhere

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self._of(server_hostname).wrap_bio(incoming, outgoing, server_side, server_hostname, session)


@functools.lru_cache(maxsize=8)
def _client_context(extra: tuple[bytes, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and (found := system_authorities()):
        context.load_verify_locations(cadata=b"".join(found))  # OpenSSL was built to look where nothing is
    if extra:
        context.load_verify_locations(cadata=b"".join(extra))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    return context


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server offers: TLS 1.2 and 1.3, HTTP/1.1, no session tickets.

    For uvicorn: `Config(…, ssl_context_factory=lambda config, default: server_context(certificate, key))`.

    Args:
        certificate: PEM, the leaf first, then any intermediates.
        key: PEM, unencrypted.

    Raises:
        GarrisonError: a file can't be read, or the two don't belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    # A ticket's key lives as long as the process: who learns it later could read every TLS 1.2 session resumed with it.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_refuse_to_ask)
    except OSError as error:  # ssl.SSLError is one too
        raise GarrisonError(
            f"The TLS certificate {certificate} and its key {key} can't be used: {_reason(error)}.",
            "Check TLS_CERT_PATH and TLS_KEY_PATH, or make a pair with `garrison certs init`.",
        ) from error
    return context


def _refuse_to_ask() -> str:
    raise GarrisonError(
        "The TLS key is encrypted, and a server has nobody to ask for its password.",
        "Decrypt it into a file that only the server may read: `openssl pkey -in old.pem -out server-key.pem`.",
    )


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").replace("_", " ").lower()
    return (error.strerror or "not readable").lower()
