"""A state folder that merely lies in the current folder may be anybody's: it speaks for this machine alone."""

import argparse
import os
import ssl
from pathlib import Path

import pytest

from garrison.base.errors import UsageError
from garrison.cli._bridge_install import command
from garrison.cli._common import add_home
from garrison.cli._connection import add_connection_arguments, client_trust
from garrison.home import Home
from garrison.tls.authority import ensure
from garrison.tls.context import server_context


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_home(parser)
    return parser.parse_args(words)


def believed(trust: ssl.SSLContext, folder: Path, name: str) -> bool:
    """Whether a client that trusts `trust` takes the server of `folder` for `name`."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(back, there, server_hostname=name)
    context = server_context(folder / "server.pem", folder / "server-key.pem")
    server = context.wrap_bio(there, back, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("GARRISON_HOME", "TLS_CA_CERT_PATH", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / ".garrison"
    home.mkdir(mode=0o700)
    ensure(home, names=["mcp.example"])
    Home(home).record_issuer("https://mcp.example")
    return home


def test_its_authority_is_believed_for_this_machine_and_for_nobody_else(folder: Path) -> None:
    trust = client_trust(arguments())
    assert believed(trust, folder, "localhost")
    assert not believed(trust, folder, "mcp.example")


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_authority_of_a_folder_that_was_named_is_believed_for_all(
    folder: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "variable":
        monkeypatch.setenv("GARRISON_HOME", str(folder))
    trust = client_trust(arguments(*(["--home", ".garrison"] if how == "option" else [])))
    assert believed(trust, folder, "mcp.example")


@pytest.mark.parametrize("mode", [0o720, 0o702])
@pytest.mark.parametrize("words", [(), ("--home", ".garrison")])
def test_a_folder_that_others_can_write_into_is_refused(folder: Path, mode: int, words: tuple[str, ...]) -> None:
    folder.chmod(mode)
    with pytest.raises(UsageError, match="others can write") as refused:
        client_trust(arguments(*words))
    assert refused.value.hint == "Close it: chmod 700 .garrison"


def test_another_users_folder_is_refused_unless_it_was_named(folder: Path) -> None:
    theirs = folder
    if os.geteuid() == 0:
        os.chown(folder, 65534, -1)
    else:
        theirs = Path("/usr")
    with pytest.raises(UsageError, match="another user") as refused:
        Home(theirs).check_own(named=False)
    assert f"--home {theirs}" in refused.value.hint
    Home(theirs).check_own(named=True)


def test_a_secret_that_others_can_read_is_refused(folder: Path) -> None:
    home = Home(folder)
    home.make_secret()
    home.secret.chmod(0o640)
    with pytest.raises(UsageError, match="open to others") as refused:
        home.read_secret()
    assert refused.value.hint == f"Close it: chmod 600 {home.secret}"


@pytest.mark.parametrize(
    ("words", "url", "expected"),
    [
        ((), "https://mcp.example/mcp", "{person}/.garrison"),
        ((), "https://localhost:8001/mcp", "{here}/.garrison"),
        (("--home", ".garrison"), "https://mcp.example/mcp", "{here}/.garrison"),
    ],
)
def test_no_bridge_is_installed_with_a_folder_that_was_not_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], url: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", str(folder / "person"))
    parser = argparse.ArgumentParser()
    add_connection_arguments(parser)
    words = tuple(command(parser.parse_args(words), url))
    home = words[words.index("--home") + 1]
    assert home == expected.format(person=folder / "person", here=folder.parent)
