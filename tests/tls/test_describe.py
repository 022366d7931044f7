"""`garrison certs show`, checked against what OpenSSL says of the same file."""

import time

import pytest

from garrison.base.errors import GarrisonError
from garrison.tls.authority import CertificatePaths
from garrison.tls.describe import describe
from tests.tls.conftest import Openssl

NOW = time.time()
DAY = 86_400


def test_the_description_agrees_with_openssl(openssl: Openssl, paths: CertificatePaths) -> None:
    said = openssl("x509", "-in", paths.server, "-noout", "-fingerprint", "-sha256", "-serial").stdout
    description = describe(paths.server.read_bytes(), NOW)
    fingerprint, serial = (line.split("=")[1] for line in said.splitlines())
    assert description["sha256"] == fingerprint
    assert int(description["serial"], 16) == int(serial, 16)


def test_a_server_certificate_is_described(paths: CertificatePaths) -> None:
    description = describe(paths.server.read_bytes(), NOW)
    assert description["subject"] == "CN=Garrison local server,O=Garrison"
    assert description["issuer"].startswith("CN=Garrison local CA ")
    assert description["names"] == ["localhost", "127.0.0.1", "::1"]
    assert not description["is_authority"]
    assert description["permitted_names"] == []
    assert 395 <= description["days_left"] <= 397


def test_a_ca_says_what_it_may_vouch_for(paths: CertificatePaths) -> None:
    description = describe(paths.ca.read_bytes(), NOW)
    assert description["is_authority"]
    assert description["permitted_names"] == ["127.0.0.0/8", "::1/128", "localhost"]


def test_days_left_are_negative_once_it_has_expired(paths: CertificatePaths) -> None:
    assert describe(paths.server.read_bytes(), NOW + 400 * DAY)["days_left"] < 0


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(GarrisonError, match="can't be read as a PEM certificate"):
        describe(b"nothing", NOW)
