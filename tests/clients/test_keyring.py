"""Logins in a real keyring: GNOME's, behind the Secret Service of a session bus of its own."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

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


@pytest.mark.needs("gnome-keyring", "dbus-daemon")
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

        # Without the bus there is no keyring: the login is somewhere else, which is said as it is.
        outside = await Shell(tmp_path).type("whoami")
        assert "nobody is logged in anywhere" in outside.stdout

        assert (await shell.type("logout", world.url)).returncode == 0
        assert (await shell.type("whoami", world.url)).returncode == 1
