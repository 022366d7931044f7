"""Logins in a real keyring: GNOME's, behind the Secret Service of a session bus of its own."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import secretstorage
from jeepney.io.blocking import open_dbus_connection  # type: ignore[import-untyped]  # ships no types
from keyring.backends import SecretService

from garrison.clients.vault import KeyringVault, secure_keyring
from tests.clients.shell import Shell
from tests.clients.world import World

# Says its bus's address once the keyring is open, and lasts as long as its input.
_SESSION = """
printf 'a password' | gnome-keyring-daemon --unlock --components=secrets > /dev/null || exit 1
echo "$DBUS_SESSION_BUS_ADDRESS"
cat > /dev/null
"""


@asynccontextmanager
async def desktop(folder: Path) -> AsyncIterator[dict[str, str]]:
    """The environment of a person's desktop, with an open keyring, for as long as the block runs."""
    run = folder / "run"
    run.mkdir(mode=0o700)
    own = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(run), "XDG_DATA_HOME": str(folder / "share")}
    environ = {"PATH": os.environ["PATH"], **own}
    with anyio.fail_after(100):
        async with await anyio.open_process(["dbus-run-session", "--", "sh", "-c", _SESSION], env=environ) as session:
            assert session.stdout
            assert session.stdin
            said = b""
            while not said.endswith(b"\n"):
                said += await session.stdout.receive()
            yield {"DBUS_SESSION_BUS_ADDRESS": said.decode().strip()}
            await session.stdin.aclose()
            await session.wait()


needs_desktop = pytest.mark.needs("gnome-keyring", "dbus-daemon")


def lock_keyring(environ: dict[str, str]) -> None:
    """What a desktop does when its user goes away."""
    with open_dbus_connection(environ["DBUS_SESSION_BUS_ADDRESS"]) as bus:
        secretstorage.get_default_collection(bus).lock()


@needs_desktop
async def test_what_was_put_into_the_systems_keyring_is_got_until_it_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desktop(tmp_path) as environ:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", environ["DBUS_SESSION_BUS_ADDRESS"])
        backend = SecretService.Keyring()  # type: ignore[no-untyped-call]
        assert secure_keyring([backend]) is backend
        vault, again = (KeyringVault(backend, tmp_path / "names.json") for _ in range(2))
        await vault.put("a", "1")
        await vault.put("b", "2")
        await vault.put("a", "3")
        assert (await again.get("a"), sorted(await again.names())) == ("3", ["a", "b"])
        await again.put("a", None)
        await again.put("never", None)
        assert (await vault.get("a"), await vault.get("b"), await vault.names()) == (None, "2", ["b"])


@needs_desktop
async def test_a_login_is_kept_in_the_systems_keyring_and_nowhere_else(world: World, tmp_path: Path) -> None:
    async with desktop(tmp_path) as environ:
        shell = Shell(tmp_path, environ)
        done = await shell.type("login", world.url, "--no-browser", "--client-id", "cli")
        assert done.returncode == 0, done.stderr
        assert json.loads((await shell.type("whoami", world.url, "--json")).stdout)[0]["subject"] == "demo_user"
        kept = {path.name: path.read_bytes() for path in (tmp_path / "logins").iterdir()}
        assert "names.json" in kept
        assert "tokens.json" not in kept
        (secret,) = world.issuer.refresh_tokens
        assert not [name for name, content in kept.items() if secret.encode() in content]

        await anyio.to_thread.run_sync(lock_keyring, environ)
        refused = await shell.type("whoami", world.url)
        assert refused.returncode == 1
        assert "garrison: the system's keyring refused (KeyringLocked)\n" in refused.stderr
