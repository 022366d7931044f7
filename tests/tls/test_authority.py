"""The certificate files of a state folder over the years."""

import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from garrison.base.clock import Clock
from garrison.base.errors import GarrisonError
from garrison.tls import issue, names
from garrison.tls.authority import CertificatePaths, ensure
from tests.tls.conftest import Openssl

NOW = time.time()
DAY = 86_400


def at(days: float = 0) -> Clock:
    return lambda: NOW + days * DAY


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def server_names(paths: CertificatePaths) -> list[str]:
    certificate = issue.load_certificate(paths.server.read_bytes())
    return [str(name.value) for name in names.of_certificate(certificate)]


def check_pairs(paths: CertificatePaths) -> None:
    for certificate, key in ((paths.ca, paths.ca_key), (paths.server, paths.server_key)):
        issue.check_match(issue.load_certificate(certificate.read_bytes()), issue.load_key(key.read_bytes()), key.name)
    issue.load_certificate(paths.server.read_bytes()).verify_directly_issued_by(
        issue.load_certificate(paths.ca.read_bytes())
    )


def test_five_private_files_are_made_in_a_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    ensure(folder, clock=at())
    assert {path.name for path in folder.iterdir()} == {
        "ca.pem",
        "ca-key.pem",
        "server.pem",
        "server-key.pem",
        "ca-bundle.pem",
    }
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_openssl_accepts_what_was_made(tmp_path: Path, openssl: Openssl) -> None:
    paths = ensure(tmp_path, clock=at())
    verdict = openssl("verify", "-x509_strict", "-verify_hostname", "localhost", "-CAfile", paths.ca, paths.server)
    assert verdict.returncode == 0, verdict.stderr


def test_doing_it_again_changes_nothing(tmp_path: Path) -> None:
    ensure(tmp_path, names=["mcp.example.com"], clock=at())
    before = contents(tmp_path)
    ensure(tmp_path, clock=at(360))
    ensure(tmp_path, names=["mcp.example.com"], clock=at(366))
    assert contents(tmp_path) == before


def test_within_30_days_of_its_end_the_server_certificate_is_renewed_and_the_ca_is_not(tmp_path: Path) -> None:
    paths = ensure(tmp_path, names=["mcp.example.com"], clock=at())
    before = contents(tmp_path)
    ensure(tmp_path, clock=at(367))
    after = contents(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"server.pem"}
    assert server_names(paths) == [*names.LOCAL_NAMES, "mcp.example.com"]
    check_pairs(paths)


def test_a_missing_name_brings_a_new_server_certificate_that_keeps_the_old_names(tmp_path: Path) -> None:
    paths = ensure(tmp_path, names=["mcp.example.com"], clock=at())
    ensure(tmp_path, names=["eu.mcp.example.com"], clock=at())
    assert server_names(paths) == [*names.LOCAL_NAMES, "mcp.example.com", "eu.mcp.example.com"]


def test_a_name_that_the_ca_may_not_vouch_for_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    ensure(tmp_path, clock=at())
    before = contents(tmp_path)
    with pytest.raises(GarrisonError, match=r"may not vouch for mcp.example.com") as caught:
        ensure(tmp_path, names=["mcp.example.com"], clock=at())
    assert "garrison certs init" in caught.value.hint
    assert contents(tmp_path) == before


def test_an_expired_ca_is_an_error_and_never_replaced(tmp_path: Path) -> None:
    ensure(tmp_path, clock=at())
    before = contents(tmp_path)
    with pytest.raises(GarrisonError, match="that is not now"):
        ensure(tmp_path, clock=at(issue.AUTHORITY_DAYS + 1))
    assert contents(tmp_path) == before


def test_an_expired_ca_is_an_error_even_when_the_server_certificate_is_not_due(tmp_path: Path) -> None:
    ensure(tmp_path, clock=at())
    ensure(tmp_path, clock=at(issue.AUTHORITY_DAYS - 10))
    with pytest.raises(GarrisonError, match="that is not now"):
        ensure(tmp_path, clock=at(issue.AUTHORITY_DAYS + 1))


def test_a_server_certificate_that_ends_with_its_ca_is_not_renewed_again_and_again(tmp_path: Path) -> None:
    ensure(tmp_path, clock=at())
    ensure(tmp_path, clock=at(issue.AUTHORITY_DAYS - 10))
    before = contents(tmp_path)
    ensure(tmp_path, clock=at(issue.AUTHORITY_DAYS - 10))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["ca-key.pem", "server-key.pem"])
def test_a_key_that_is_not_its_certificates_is_an_error(tmp_path: Path, name: str) -> None:
    ensure(tmp_path, clock=at())
    (tmp_path / name).write_bytes(issue.new_key())
    with pytest.raises(GarrisonError, match=f"{name} doesn't belong to its certificate"):
        ensure(tmp_path, clock=at())


def test_a_server_certificate_of_another_ca_is_never_overwritten(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ensure(ours, clock=at())
    ensure(theirs, clock=at())
    (ours / "server.pem").write_bytes((theirs / "server.pem").read_bytes())
    before = contents(ours)
    with pytest.raises(GarrisonError, match=r"server.pem was not issued by ca.pem"):
        ensure(ours, clock=at(380))
    assert contents(ours) == before


def test_the_cas_key_is_needed_only_to_issue(tmp_path: Path) -> None:
    paths = ensure(tmp_path, clock=at())
    paths.ca_key.unlink()
    ensure(tmp_path, clock=at())
    assert not paths.ca_key.exists()
    with pytest.raises(GarrisonError, match=r"ca-key.pem is not here"):
        ensure(tmp_path, clock=at(380))


def test_a_missing_server_key_is_an_error(tmp_path: Path) -> None:
    paths = ensure(tmp_path, clock=at())
    paths.server_key.unlink()
    with pytest.raises(GarrisonError, match=r"server-key.pem is missing"):
        ensure(tmp_path, clock=at())


@pytest.mark.parametrize("lost", [("ca.pem", "server.pem"), ("server.pem",), ("ca-bundle.pem",)])
def test_a_crash_between_two_files_is_healed_with_the_same_keys(tmp_path: Path, lost: tuple[str, ...]) -> None:
    paths = ensure(tmp_path, clock=at())
    keys = paths.ca_key.read_bytes(), paths.server_key.read_bytes()
    for name in lost:
        (tmp_path / name).unlink()
    ensure(tmp_path, clock=at())
    assert (paths.ca_key.read_bytes(), paths.server_key.read_bytes()) == keys
    check_pairs(paths)


def test_many_that_start_at_once_end_with_one_matching_set(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ensure(tmp_path, clock=at()), range(8)))
    check_pairs(made[0])
    assert (
        issue.load_certificate(made[0].ca_bundle.read_bytes()).public_key()
        == issue.load_certificate(made[0].ca.read_bytes()).public_key()
    )
    assert len(contents(tmp_path)) == 5


def test_the_server_certificate_starts_in_the_past_for_clocks_that_lag(tmp_path: Path) -> None:
    certificate = issue.load_certificate(ensure(tmp_path, clock=at()).server.read_bytes())
    assert certificate.not_valid_before_utc <= dt.datetime.fromtimestamp(NOW - 300, dt.UTC)
