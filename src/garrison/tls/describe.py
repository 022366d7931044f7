"""What a certificate says, in words (for `garrison certs show`)."""

import datetime as dt
from typing import TypedDict

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from garrison.tls import names as naming
from garrison.tls.issue import load_certificate


class Description(TypedDict):
    """One certificate; ready for JSON. `days_left` is negative when it has expired."""

    subject: str
    issuer: str
    names: list[str]
    permitted_names: list[str]
    is_authority: bool
    not_before: str
    not_after: str
    days_left: int
    serial: str
    sha256: str


def describe(pem: bytes, now: float) -> Description:
    """The first certificate in `pem`, seen at `now` (seconds since the epoch). Raises GarrisonError without one."""
    certificate = load_certificate(pem)
    end = certificate.not_valid_after_utc
    return Description(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=[str(name.value) for name in naming.of_certificate(certificate)],
        permitted_names=_permitted(certificate),
        is_authority=_is_authority(certificate),
        not_before=certificate.not_valid_before_utc.isoformat(),
        not_after=end.isoformat(),
        days_left=(end - dt.datetime.fromtimestamp(now, dt.UTC)).days,
        serial=f"{certificate.serial_number:x}",
        sha256=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    )


def _permitted(certificate: x509.Certificate) -> list[str]:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in constraints.permitted_subtrees or []]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
