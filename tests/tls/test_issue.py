"""RFC 5280, judged by OpenSSL itself."""

import datetime as dt
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from garrison.base.errors import GarrisonError, UsageError
from garrison.tls import issue, names
from tests.tls.conftest import Openssl

NOW = time.time()
DAY = 86_400


@pytest.fixture(scope="module")
def authority() -> issue.Authority:
    return issue.create_authority(NOW, ["mcp.example.com", "192.0.2.7"])


def judge(openssl: Openssl, folder: Path, authority: bytes, certificate: bytes, *options: str) -> str:
    (folder / "ca.pem").write_bytes(authority)
    (folder / "leaf.pem").write_bytes(certificate)
    verdict = openssl("verify", "-x509_strict", *options, "-CAfile", folder / "ca.pem", folder / "leaf.pem")
    return "OK" if verdict.returncode == 0 else verdict.stderr


@pytest.mark.parametrize(
    "expected",
    [
        ("-verify_hostname", "localhost"),
        ("-verify_hostname", "mcp.example.com"),
        ("-verify_ip", "127.0.0.1"),
        ("-verify_ip", "::1"),
        ("-verify_ip", "192.0.2.7"),
        ("-purpose", "sslserver"),
    ],
)
def test_openssl_accepts_the_server_certificate_strictly_for_each_of_its_names(
    openssl: Openssl, tmp_path: Path, authority: issue.Authority, expected: tuple[str, str]
) -> None:
    server = issue.issue_server(authority, ["mcp.example.com", "192.0.2.7"], NOW)
    verdict = judge(openssl, tmp_path, authority.certificate_pem, server.certificate_pem, *expected)
    assert verdict == "OK"


@pytest.mark.parametrize(
    ("option", "value"),
    [("-verify_hostname", "example.com"), ("-verify_ip", "127.0.0.2"), ("-purpose", "sslclient")],
)
def test_a_server_certificate_is_good_for_nothing_else(
    openssl: Openssl, tmp_path: Path, authority: issue.Authority, option: str, value: str
) -> None:
    server = issue.issue_server(authority, ["mcp.example.com"], NOW)
    assert judge(openssl, tmp_path, authority.certificate_pem, server.certificate_pem, option, value) != "OK"


@pytest.mark.parametrize("name", ["evil.example", "192.0.2.8", "example.com"])
def test_what_the_ca_key_signs_outside_its_names_is_refused_by_clients(
    openssl: Openssl, tmp_path: Path, authority: issue.Authority, name: str
) -> None:
    stolen = issue.create_authority(NOW, [name], authority.key_pem)
    forged = issue.issue_server(stolen, [name], NOW)
    assert judge(openssl, tmp_path, stolen.certificate_pem, forged.certificate_pem) == "OK"
    assert "permitted subtree violation" in judge(openssl, tmp_path, authority.certificate_pem, forged.certificate_pem)


def test_the_ca_may_not_make_another_ca(openssl: Openssl, tmp_path: Path, authority: issue.Authority) -> None:
    key, middle_key = issue.load_key(authority.key_pem), issue.load_key(issue.new_key())
    root = issue.load_certificate(authority.certificate_pem)
    begin = dt.datetime.fromtimestamp(NOW - DAY, dt.UTC)
    middle = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a second CA")]))
        .issuer_name(root.subject)
        .public_key(middle_key.public_key())
        .serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(middle_key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    below = issue.issue_server(
        issue.Authority(
            middle,
            middle_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        ),
        [],
        NOW,
    )
    (tmp_path / "middle.pem").write_bytes(middle)
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "leaf.pem").write_bytes(below.certificate_pem)
    chain = ["-untrusted", tmp_path / "middle.pem", "-CAfile", tmp_path / "ca.pem", tmp_path / "leaf.pem"]
    assert "path length constraint exceeded" in openssl("verify", *chain).stderr


@pytest.mark.parametrize("name", ["evil.example", "example.com", "evilmcp.example.com", "192.0.2.8", "::2"])
def test_the_ca_refuses_a_name_that_it_was_not_made_for(authority: issue.Authority, name: str) -> None:
    with pytest.raises(GarrisonError, match=f"may not vouch for {name}"):
        issue.issue_server(authority, [name], NOW)


def test_names_below_one_of_the_cas_names_and_all_loopback_addresses_are_its_own(authority: issue.Authority) -> None:
    certificate = issue.load_certificate(
        issue.issue_server(authority, ["a.mcp.example.com", "app.localhost", "127.9.9.9"], NOW).certificate_pem
    )
    assert [str(name.value) for name in names.of_certificate(certificate)] == [
        *names.LOCAL_NAMES,
        "a.mcp.example.com",
        "app.localhost",
        "127.9.9.9",
    ]


@pytest.mark.parametrize(
    "name", ["*.example.com", "", "a..b", "exa mple.com", "1.2.3", "münchen.example", "a\nb", "-a.example", "a" * 254]
)
def test_a_name_that_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="neither a host name nor an IP address"):
        names.parse(name)


def test_a_server_certificate_lives_at_most_397_days_and_never_longer_than_its_ca(authority: issue.Authority) -> None:
    root = issue.load_certificate(authority.certificate_pem)
    fresh = issue.load_certificate(issue.issue_server(authority, [], NOW).certificate_pem)
    assert fresh.not_valid_after_utc - fresh.not_valid_before_utc == dt.timedelta(days=397)
    late = issue.load_certificate(
        issue.issue_server(authority, [], NOW + (issue.AUTHORITY_DAYS - 10) * DAY).certificate_pem
    )
    assert late.not_valid_after_utc == root.not_valid_after_utc


def test_serial_numbers_are_128_random_bits(authority: issue.Authority) -> None:
    serials = {
        issue.load_certificate(issue.issue_server(authority, [], NOW).certificate_pem).serial_number for _ in range(40)
    }
    assert len(serials) == 40
    assert 120 < max(serial.bit_length() for serial in serials) <= 128


@pytest.mark.parametrize("days", [-1, issue.AUTHORITY_DAYS + 1])
def test_a_ca_outside_its_life_signs_nothing(authority: issue.Authority, days: int) -> None:
    with pytest.raises(GarrisonError, match="that is not now"):
        issue.issue_server(authority, [], NOW + days * DAY)


def test_a_key_that_is_not_the_cas_signs_nothing(authority: issue.Authority) -> None:
    with pytest.raises(GarrisonError, match="doesn't belong to its certificate"):
        issue.issue_server(issue.Authority(authority.certificate_pem, issue.new_key()), [], NOW)


def test_a_server_certificate_signs_nothing(authority: issue.Authority) -> None:
    server = issue.issue_server(authority, [], NOW)
    with pytest.raises(GarrisonError, match="may not sign certificates"):
        issue.issue_server(issue.Authority(server.certificate_pem, server.key_pem), [], NOW)


def test_no_key_shows_in_a_repr(authority: issue.Authority) -> None:
    server = issue.issue_server(authority, [], NOW)
    assert "PRIVATE" not in repr(authority) + repr(server)


def test_what_is_no_pem_key_or_certificate_is_named_and_refused() -> None:
    with pytest.raises(GarrisonError, match=r"ca-key.pem can't be read as an unencrypted PEM key"):
        issue.load_key(b"nothing", "ca-key.pem")
    with pytest.raises(GarrisonError, match=r"ca.pem can't be read as a PEM certificate"):
        issue.load_certificate(b"nothing", "ca.pem")
