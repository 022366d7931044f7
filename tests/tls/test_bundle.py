"""The combined CA bundle."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

from garrison.tls import bundle
from garrison.tls.authority import CertificatePaths


def test_the_bundle_is_the_local_ca_and_the_systems(paths: CertificatePaths) -> None:
    local = ssl.PEM_cert_to_DER_cert(paths.ca.read_text())
    system = bundle.system_authorities()
    assert len(system) > 50
    assert set(bundle.certificates_in(paths.ca_bundle)) == {local, *system}
    assert paths.ca_bundle.read_bytes().startswith(paths.ca.read_bytes())


def test_each_ca_stands_in_the_bundle_once(paths: CertificatePaths) -> None:
    pem = paths.ca.read_bytes()
    local = ssl.PEM_cert_to_DER_cert(pem.decode())
    assert bundle.combined(pem, (local, local)) == pem


def test_without_any_system_ca_the_bundle_is_the_local_ca(paths: CertificatePaths) -> None:
    assert bundle.combined(paths.ca.read_bytes(), ()) == paths.ca.read_bytes()


def test_a_bundle_that_is_up_to_date_is_not_written(tmp_path: Path, paths: CertificatePaths) -> None:
    file = tmp_path / "bundle.pem"
    bundle.write_bundle(file, paths.ca.read_bytes())
    before = file.stat()
    bundle.write_bundle(file, paths.ca.read_bytes())
    assert file.stat().st_ino == before.st_ino


def test_a_bundle_that_ssl_cert_file_names_is_not_made_from_itself(tmp_path: Path, paths: CertificatePaths) -> None:
    """Else a CA that the system gave up would stay in it for ever."""
    file = tmp_path / "bundle.pem"
    file.write_bytes(paths.server.read_bytes() + paths.ca.read_bytes())
    code = "import sys; from pathlib import Path; from garrison.tls.bundle import *\n"
    code += "print(len(system_authorities(other_than=Path(sys.argv[1]))), len(system_authorities()))"
    environment = {**os.environ, "SSL_CERT_FILE": str(file)}
    command = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    others, all_of_them = map(int, done.stdout.split())
    assert others > 50
    assert all_of_them == 1


def test_a_file_without_certificates_brings_none(tmp_path: Path) -> None:
    assert bundle.certificates_in(tmp_path / "absent.pem") == ()
    (tmp_path / "empty.pem").write_bytes(b"")
    assert bundle.certificates_in(tmp_path / "empty.pem") == ()
