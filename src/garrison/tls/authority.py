"""The local CA and its certificates in a state folder: made when missing, renewed in time, never silently replaced.

A key is written once and a certificate follows from it, so a crash between the two, or two processes that start at
the same time, end in a matching pair.
"""

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from garrison.base.clock import Clock, system_clock
from garrison.base.errors import GarrisonError
from garrison.base.files import make_private_folder, write_private
from garrison.tls import issue
from garrison.tls import names as naming
from garrison.tls.bundle import write_bundle

RENEW_BEFORE = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class CertificatePaths:
    """Where the files are; all of them 0600. `server` holds the leaf alone: the CA that signed it is a root."""

    ca: Path
    ca_key: Path
    server: Path
    server_key: Path
    ca_bundle: Path

    @classmethod
    def inside(cls, folder: Path) -> Self:
        return cls(
            ca=folder / "ca.pem",
            ca_key=folder / "ca-key.pem",
            server=folder / "server.pem",
            server_key=folder / "server-key.pem",
            ca_bundle=folder / "ca-bundle.pem",
        )


def ensure(folder: Path, *, names: Sequence[str] = (), clock: Clock = system_clock) -> CertificatePaths:
    """Make what is missing in `folder` and renew what is due; calling it again changes nothing.

    The CA's key is needed only to issue: who keeps it elsewhere can take it away in between.

    Args:
        folder: the state folder; made 0700.
        names: host names and addresses beside localhost, 127.0.0.1 and ::1.
        clock: tells whether something is due.

    Raises:
        GarrisonError: the CA is expired, a key doesn't match its certificate, server.pem is another CA's,
            or the CA may not vouch for one of `names`.
    """
    now = clock()
    make_private_folder(folder)
    paths = CertificatePaths.inside(folder)
    authority = _authority(paths, names, now)
    _ensure_server(paths, authority, names, now)
    write_bundle(paths.ca_bundle, paths.ca.read_bytes())
    return paths


def _authority(paths: CertificatePaths, names: Sequence[str], now: float) -> x509.Certificate:
    if not paths.ca.exists():
        made = issue.create_authority(now, names, _key(paths.ca_key))
        write_private(paths.ca, made.certificate_pem)
    certificate = issue.load_certificate(paths.ca.read_bytes(), "ca.pem")
    issue.check_usable(certificate, now)
    if paths.ca_key.exists():
        issue.check_match(certificate, issue.load_key(paths.ca_key.read_bytes(), "ca-key.pem"), "ca-key.pem")
    return certificate


def _ensure_server(paths: CertificatePaths, authority: x509.Certificate, names: Sequence[str], now: float) -> None:
    kept: tuple[str, ...] = ()
    if paths.server.exists():
        current = _server(paths, authority)
        if not _is_due(current, authority, names, now):
            return
        kept = tuple(str(name.value) for name in naming.of_certificate(current))
    if not paths.ca_key.exists():
        raise GarrisonError(
            "A server certificate is due, and ca-key.pem is not here to sign it.",
            "Put the CA's key back for as long as `garrison certs init` takes.",
        )
    issuer = issue.Authority(paths.ca.read_bytes(), paths.ca_key.read_bytes())
    issued = issue.issue_server(issuer, (*kept, *names), now, _key(paths.server_key))
    write_private(paths.server, issued.certificate_pem)


def _server(paths: CertificatePaths, authority: x509.Certificate) -> x509.Certificate:
    certificate = issue.load_certificate(paths.server.read_bytes(), "server.pem")
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise GarrisonError(
            "server.pem was not issued by ca.pem.",
            "If it comes from a public CA, keep it elsewhere and name it with TLS_CERT_PATH and TLS_KEY_PATH; "
            "else remove server.pem and server-key.pem.",
        ) from error
    key = issue.load_key(_read(paths.server_key), "server-key.pem")
    issue.check_match(certificate, key, "server-key.pem")
    return certificate


def _is_due(server: x509.Certificate, authority: x509.Certificate, names: Sequence[str], now: float) -> bool:
    missing = set(naming.parse_all(names)) - set(naming.of_certificate(server))
    soon = dt.datetime.fromtimestamp(now, dt.UTC) + RENEW_BEFORE
    # A certificate that ends with its CA can't be given more time.
    can_last = server.not_valid_after_utc < authority.not_valid_after_utc
    return bool(missing) or (can_last and server.not_valid_after_utc <= soon)


def _key(path: Path) -> bytes:
    """The key in `path`; where there is none, a new one, which the first of several processes decides."""
    if not path.exists():
        candidate = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        write_private(candidate, issue.new_key())
        try:
            path.hardlink_to(candidate)
        except FileExistsError:
            pass
        finally:
            candidate.unlink()
    return path.read_bytes()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise GarrisonError(
            f"{path.name} is missing beside its certificate.",
            "Restore it, or remove server.pem and run `garrison certs init`.",
        ) from error
