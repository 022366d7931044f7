"""RFC 5280: a local certificate authority, and the server certificates it issues. Pure: PEM in, PEM out.

The CA is trusted by the browsers of the machine it was made on, so it is held as short as it can be: it may issue for
its own names alone (name constraints), for TLS servers alone (extended key usage), and no further CA (path length 0).
"""

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from garrison.base.errors import GarrisonError
from garrison.tls import names as naming

AUTHORITY_DAYS = 5 * 365
SERVER_DAYS = 397
"""A day less than the most that browsers ever allowed a public certificate since they began to count: 398."""
CLOCK_SKEW = dt.timedelta(hours=1)
"""How far a certificate's life begins before it was made, for virtual machines whose clock lags."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate and its private key (PKCS #8), both PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A leaf certificate, alone, and its private key (PKCS #8), both PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


def new_key() -> bytes:
    """A new EC P-256 private key, PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes, what: str = "The private key") -> ec.EllipticCurvePrivateKey:
    """Raises GarrisonError, with `what` as its subject, when `pem` is no unencrypted EC private key."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise GarrisonError(f"{what} can't be read as an unencrypted PEM key.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise GarrisonError(f"{what} is not an elliptic-curve key.")
    return key


def load_certificate(pem: bytes, what: str = "The certificate") -> x509.Certificate:
    """Raises GarrisonError, with `what` as its subject, when `pem` holds no certificate."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise GarrisonError(f"{what} can't be read as a PEM certificate.") from error


def create_authority(now: float, names: Sequence[str] = (), key_pem: bytes | None = None) -> Authority:
    """A new CA that may vouch for localhost, the loopback addresses and `names`, and for what is below them.

    Args:
        now: seconds since the epoch.
        names: further host names and IP addresses.
        key_pem: the CA's key; a new one by default.
    """
    key_pem = key_pem or new_key()
    key = load_key(key_pem)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The key's fingerprint in the name tells two of these apart in a browser's list.
    subject = _name(f"Garrison local CA {identifier.digest.hex()[:8]}")
    builder = (
        _builder(subject, key.public_key(), *_life(now, AUTHORITY_DAYS))
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(naming.constraints(naming.parse_all(names)), critical=True)
        .add_extension(identifier, critical=False)
    )
    return Authority(_pem(builder.sign(key, hashes.SHA256())), key_pem)


def issue_server(
    authority: Authority, names: Sequence[str], now: float, key_pem: bytes | None = None
) -> ServerCertificate:
    """A server certificate for localhost, the loopback addresses and `names`, signed by `authority`.

    Args:
        authority: who signs.
        names: further host names and IP addresses.
        now: seconds since the epoch.
        key_pem: the server's key; a new one by default.

    Raises:
        GarrisonError: the CA is expired, doesn't match its key, or may not vouch for one of `names`.
    """
    issuer, issuer_key = check_authority(authority, now)
    alternatives = naming.parse_all(names)
    naming.check_permitted(issuer, alternatives)
    key_pem = key_pem or new_key()
    public_key = load_key(key_pem).public_key()
    issuer_identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        # A name that is no host name, so that nobody takes the common name for one (RFC 9525 §2).
        _builder(_name("Garrison local server"), public_key, *_within(issuer, *_life(now, SERVER_DAYS)))
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier), critical=False
        )
    )
    return ServerCertificate(_pem(builder.sign(issuer_key, hashes.SHA256())), key_pem)


def check_authority(authority: Authority, now: float) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The CA's certificate and key, ready to sign. Raises GarrisonError when they aren't."""
    certificate = load_certificate(authority.certificate_pem, "The CA certificate")
    key = load_key(authority.key_pem, "The CA's private key")
    check_usable(certificate, now)
    check_match(certificate, key, "The CA's private key")
    return certificate, key


def check_usable(certificate: x509.Certificate, now: float) -> None:
    """Raises GarrisonError when this is no CA certificate, or its life is over or hasn't begun (RFC 5280 §6.1.3)."""
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise GarrisonError("The CA certificate belongs to no CA: it may not sign certificates.")
    if not certificate.not_valid_before_utc <= _moment(now) <= certificate.not_valid_after_utc:
        raise GarrisonError(
            f"The local CA is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d}, and that is not now.",
            "Check the clock. To start anew, remove ca.pem, ca-key.pem, server.pem and server-key.pem, run "
            "`garrison certs init`, and trust the new ca.pem.",
        )


def check_match(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, what: str) -> None:
    """Raises GarrisonError, with `what` as its subject, when `key` is not the certificate's."""
    if certificate.public_key() != key.public_key():
        raise GarrisonError(
            f"{what} doesn't belong to its certificate.",
            "Restore the pair from one backup, or remove both files and run `garrison certs init`.",
        )


def _builder(
    subject: x509.Name, public_key: ec.EllipticCurvePublicKey, begin: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(secrets.randbits(128) or 1)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _life(now: float, days: int) -> tuple[dt.datetime, dt.datetime]:
    begin = _moment(now) - CLOCK_SKEW
    return begin, begin + dt.timedelta(days=days)


def _within(authority: x509.Certificate, begin: dt.datetime, end: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    return max(begin, authority.not_valid_before_utc), min(end, authority.not_valid_after_utc)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Garrison"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _moment(now: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(now), dt.UTC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
