"""One file with every CA a client here should trust: the system's and the local one (for `SSL_CERT_FILE`)."""

import ssl
from collections.abc import Iterator
from pathlib import Path

from garrison.base.files import write_private

_WELL_KNOWN = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD, Arch
)


def system_authorities(other_than: Path | None = None) -> tuple[bytes, ...]:
    """The CAs that this machine trusts, as DER; empty where there are none.

    Args:
        other_than: a file that is not the system's, though `SSL_CERT_FILE` may say so: the bundle itself.
    """
    for source in _sources(other_than):
        if found := certificates_in(source):
            return found
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()  # Windows keeps them in no file
    return tuple(context.get_ca_certs(binary_form=True))


def certificates_in(source: Path) -> tuple[bytes, ...]:
    """The CA certificates in a PEM file, as DER; empty when there are none, or no such file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=source)
    except OSError:  # ssl.SSLError is one too
        return ()
    return tuple(context.get_ca_certs(binary_form=True))


def combined(authority_pem: bytes, system: tuple[bytes, ...]) -> bytes:
    """The local CA and then the system's, each once, as PEM."""
    local = ssl.PEM_cert_to_DER_cert(authority_pem.decode("ascii"))
    return "".join(map(ssl.DER_cert_to_PEM_cert, dict.fromkeys((local, *system)))).encode("ascii")


def write_bundle(bundle: Path, authority_pem: bytes) -> None:
    """Bring `bundle` up to date with the system's CAs and the local one; untouched when it already is."""
    data = combined(authority_pem, system_authorities(other_than=bundle))
    if not bundle.exists() or bundle.read_bytes() != data:
        write_private(bundle, data)


def _sources(other_than: Path | None) -> Iterator[Path]:
    defaults = ssl.get_default_verify_paths()
    avoided = other_than.resolve() if other_than else None
    for source in (defaults.cafile, defaults.openssl_cafile, *_WELL_KNOWN, _certifi()):
        if source and Path(source).resolve() != avoided:
            yield Path(source)


def _certifi() -> str | None:
    try:
        import certifi  # noqa: PLC0415  no dependency of ours, but often there: the last resort of a bare container
    except ImportError:
        return None
    return certifi.where()
