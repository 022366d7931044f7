"""`garrison login`, `whoami`, `tools` without a flag, and `logout`, as a person types them."""

import json
import re
from pathlib import Path

import pytest

from garrison.base.errors import UsageError
from garrison.config.clients import client_settings
from garrison.oauth import access_token
from tests.clients.shell import Shell
from tests.clients.world import KEY, World


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


async def test_a_login_serves_all_later_commands_until_the_logout(world: World, shell: Shell) -> None:
    world.issuer.registering = True
    world.issuer.metadata["revocation_endpoint"] = f"{world.issuer.issuer}/revoke"
    done = await shell.type("login", world.url, "--no-browser", "--private-addresses")
    assert (done.returncode, done.stdout) == (0, f"logged in to {world.url} as demo_user\n"), done.stderr
    assert "ADDRESS" in done.stderr

    listed = await shell.type("tools", world.url, "--json")
    assert listed.returncode == 0, listed.stderr
    called = await shell.type("call", world.url, "get_customer_info", "customer_id=ABC123")
    assert called.returncode == 0, called.stderr
    assert len(world.issuer.authorize_queries) == 1
    assert len(world.issuer.forms) == 1
    kept = (shell.folder / "logins" / "tokens.json").read_text()
    assert r"\"private_addresses\": true" in kept

    shown = await shell.type("whoami", world.url, "--json")
    (about,) = json.loads(shown.stdout)
    assert (about["subject"], about["client"], about["issuer"]) == ("demo_user", "registered-1", world.issuer.issuer)
    assert about["scopes"] == sorted(about["scopes"])
    assert about["expires"]
    token = (world.gate.seen[-1].authorization or "").removeprefix("Bearer ")
    table = await shell.type("whoami")
    assert "demo_user" in table.stdout
    assert token not in shown.stdout + table.stdout + done.stdout + done.stderr

    ended = await shell.type("logout", world.url)
    assert (ended.returncode, ended.stdout) == (0, f"logged out of {world.url}\n"), ended.stderr
    assert [form["token_type_hint"] for form in world.issuer.revoked] == ["refresh_token", "access_token"]
    assert (await shell.type("whoami", world.url)).returncode == 1
    assert (await shell.type("logout", world.url)).returncode == 1
    assert (await shell.type("whoami")).stdout == "nobody is logged in anywhere; garrison login URL\n"
    refused = await shell.type("tools", world.url)
    assert refused.returncode == 1
    assert f"garrison login {world.url}" in refused.stderr


async def test_whom_the_token_names_does_not_steer_the_terminal(world: World, shell: Shell) -> None:
    escapes = "\x1b]0;owned\x07\x9b2J\u202e\r\nlogged in as root"
    world.issuer.make_token = lambda about: access_token.issue(KEY, **{**about, "subject": f"me{escapes}"})
    done = await shell.type("login", world.url, "--no-browser", "--client-id", "cli")
    assert done.stdout.startswith(f"logged in to {world.url} as me"), done.stderr
    assert done.stdout.count("\n") == 1
    shown = await shell.type("whoami")
    assert not set(done.stdout + shown.stdout) & set("\x1b\x07\x9b\u202e\r")


async def test_a_login_that_has_ended_is_said_so_where_nobody_sits(world: World, shell: Shell) -> None:
    assert (await shell.type("login", world.url, "--no-browser", "--client-id", "cli")).returncode == 0
    (file,) = (shell.folder / "logins").glob("tokens.json")
    kept = file.read_text()
    ended = re.sub(r'(expires_at\\*": ?)[0-9.]+', r"\g<1>1.0", kept)
    assert ended != kept
    file.write_text(ended)
    world.issuer.refresh_tokens.clear()
    refused = await shell.type("tools", world.url)
    assert refused.returncode == 1
    assert "has ended" in refused.stderr
    assert f"garrison login {world.url}" in refused.stderr


async def test_all_logins_and_registrations_end_at_once(world: World, shell: Shell) -> None:
    world.issuer.registering = True
    await shell.type("login", world.url, "--no-browser")
    ended = await shell.type("logout", "--all")
    assert (ended.returncode, ended.stdout) == (0, f"logged out of {world.url} (its server revokes no tokens)\n")
    (file,) = (shell.folder / "logins").glob("tokens.json")
    assert json.loads(file.read_text()) == {}
    wrong = await shell.type("logout")
    assert wrong.returncode == 2


async def test_a_server_that_wants_no_token_has_nothing_to_log_in_to(world: World, shell: Shell) -> None:
    world.gate.open = True
    done = await shell.type("login", world.url, "--no-browser")
    assert (done.returncode, done.stdout) == (0, "")
    assert "wants no token" in done.stderr


def test_logins_belong_to_the_person_wherever_a_command_is_typed() -> None:
    assert client_settings({"HOME": "/home/me"}).logins == Path("/home/me/.local/state/garrison")
    assert client_settings({"HOME": "/home/me", "XDG_STATE_HOME": "/s"}).logins == Path("/s/garrison")
    assert client_settings({"HOME": "/home/me", "XDG_STATE_HOME": "rel"}).logins == Path(
        "/home/me/.local/state/garrison"
    )
    assert client_settings({"GARRISON_LOGINS": "here"}).logins == Path("here")
    assert client_settings({"GARRISON_KEYRING": "off"}).use_keyring is False
    assert client_settings({}).use_keyring is True
    with pytest.raises(UsageError, match="GARRISON_KEYRING"):
        client_settings({"GARRISON_KEYRING": "maybe"})
