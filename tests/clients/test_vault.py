"""Where secrets rest: in a file that is its owner's alone, or a keyring known to be secure; shared by processes."""

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio
import pytest

from garrison.base import files
from garrison.base.errors import GarrisonError, UsageError
from garrison.clients.tokens import FileTokens, MemoryTokens, Registration, StoredLogin, Token, TokenKey, TokenStorage
from garrison.clients.vault import FileVault, KeyringVault, MemoryVault, Vault, open_vault, secure_keyring

KEY = TokenKey("https://auth.example", "https://mcp.example/mcp", "cli")


class FakeKeyring:
    """A keyring's backend that keeps its secrets in a dict."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        self._check()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._check()
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._check()
        del self.kept[service, username]

    def _check(self) -> None:
        if self.locked:
            raise RuntimeError("can't read the-secret-itself: locked")


def vault_of(kind: str, folder: Path) -> Vault:
    if kind == "memory":
        return MemoryVault()
    return FileVault(folder / "a/tokens.json") if kind == "file" else KeyringVault(FakeKeyring(), folder / "names.json")


each_vault = pytest.mark.parametrize("kind", ["memory", "file", "keyring"])


@each_vault
async def test_what_was_put_is_got_until_it_is_forgotten(tmp_path: Path, kind: str) -> None:
    vault = vault_of(kind, tmp_path)
    assert await vault.get("a") is None
    await vault.put("a", "1")
    await vault.put("b", "2")
    await vault.put("a", "3")
    assert (await vault.get("a"), sorted(await vault.names())) == ("3", ["a", "b"])
    await vault.put("a", None)
    await vault.put("never", None)
    assert (await vault.get("a"), await vault.names()) == (None, ["b"])


@each_vault
async def test_a_lock_is_held_by_one_at_a_time_and_others_by_other_names(tmp_path: Path, kind: str) -> None:
    vault, inside, most = vault_of(kind, tmp_path), 0, 0

    async def enter() -> None:
        nonlocal inside, most
        async with vault.lock("a"):
            inside += 1
            most = max(most, inside)
            async with vault.lock("b"):
                await anyio.sleep(0)
            inside -= 1

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(enter)
    assert (inside, most) == (0, 1)


async def test_a_wait_for_a_lock_can_be_given_up_and_leaves_nothing_locked(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "tokens.json")
    async with vault.lock("a"):
        with pytest.raises(TimeoutError), anyio.fail_after(0.01):
            async with vault.lock("a"):
                pass
    with anyio.fail_after(60):
        async with vault.lock("a"):
            pass


async def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    script = """
import sys, anyio
from pathlib import Path
from garrison.clients.vault import FileVault
async def main():
    vault = FileVault(Path(sys.argv[1]))
    for number in range(10):
        await vault.put(f"{sys.argv[2]}-{number}", "x")
anyio.run(main)
"""
    file = tmp_path / "tokens.json"

    async def write(name: str) -> None:
        await anyio.run_process([sys.executable, "-c", script, str(file), name])

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for name in "ab":
                tasks.start_soon(write, name)
    assert len(await FileVault(file).names()) == 20


async def test_the_file_is_read_and_replaced_under_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    real_locked, real_write = files.locked, files.write_private

    @contextmanager
    def locked(path: Path) -> Iterator[None]:
        with real_locked(path):
            happened.append("locked")
            yield
            happened.append("unlocked")

    def write(path: Path, data: bytes) -> None:
        happened.append("written")
        real_write(path, data)

    monkeypatch.setattr("garrison.clients.vault.locked", locked)
    monkeypatch.setattr("garrison.clients.vault.write_private", write)
    await FileVault(tmp_path / "tokens.json").put("a", "1")
    assert happened == ["locked", "written", "unlocked"]


async def test_the_file_and_its_folder_are_their_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "tokens.json"
    vault = FileVault(file)
    async with vault.lock("a"):
        await vault.put("a", "secret")
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}
    assert [path.name for path in file.parent.iterdir() if "secret" in path.name] == []
    file.chmod(0o604)
    with pytest.raises(UsageError, match="open to others"):
        await vault.get("a")


async def test_a_keyring_keeps_the_values_and_the_file_beside_it_only_names(tmp_path: Path) -> None:
    keyring = FakeKeyring()
    await KeyringVault(keyring, tmp_path / "names.json").put("name", "the-secret-itself")
    assert keyring.kept == {("garrison", "name"): "the-secret-itself"}
    assert "the-secret-itself" not in (tmp_path / "names.json").read_text()


async def test_a_locked_keyring_is_a_clear_error_that_quotes_nothing(tmp_path: Path) -> None:
    keyring = FakeKeyring()
    keyring.locked = True
    with pytest.raises(GarrisonError, match="keyring") as refused:
        await KeyringVault(keyring, tmp_path / "names.json").put("name", "the-secret-itself")
    assert "secret" not in refused.value.message + refused.value.hint


def backend(module: str, **attributes: Any) -> Any:
    """An object whose class lives in `module`."""
    return type("Keyring", (SimpleNamespace,), {"__module__": module})(**attributes)


@pytest.mark.parametrize(
    "module",
    ["keyring.backends.fail", "keyring.backends.null", "keyring.backends.chainer", "keyrings.alt.file", "evil.backend"],
)
def test_a_backend_that_is_not_known_to_be_secure_does_not_count(module: str) -> None:
    assert secure_keyring([backend(module)]) is None


@pytest.mark.parametrize("module", ["macOS", "SecretService", "libsecret", "kwallet", "Windows"])
def test_the_systems_own_keyrings_count(module: str) -> None:
    good = backend(f"keyring.backends.{module}")
    assert secure_keyring([backend("keyrings.alt.file"), good]) is good


def test_the_keyring_that_the_package_finds_is_used_if_it_is_secure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("keyring")
    monkeypatch.setitem(sys.modules, "keyring", module)
    inner = backend("keyring.backends.SecretService")
    module.get_keyring = lambda: backend("keyring.backends.chainer", backends=[inner])  # type: ignore[attr-defined]
    assert isinstance(open_vault(tmp_path), KeyringVault)
    assert isinstance(open_vault(tmp_path, use_keyring=False), FileVault)
    module.get_keyring = lambda: backend("keyrings.alt.file")  # type: ignore[attr-defined]
    assert isinstance(open_vault(tmp_path), FileVault)
    module.get_keyring = lambda: 1 / 0  # type: ignore[attr-defined]
    assert isinstance(open_vault(tmp_path), FileVault)
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert isinstance(open_vault(tmp_path), FileVault)


async def test_registrations_and_logins_are_kept_beside_the_tokens(tmp_path: Path) -> None:
    storage = FileTokens(tmp_path / "tokens.json")
    registration = Registration("id", "http://127.0.0.1:7/callback", "s", "client_secret_basic", 5.0)
    login = StoredLogin("https://mcp.example/mcp/", KEY, "id", "s")
    await storage.save_registration(KEY.issuer, registration)
    await storage.save_login(login)
    await storage.save(KEY, Token("t", frozenset("a")))
    again = FileTokens(tmp_path / "tokens.json")
    assert await again.registration(KEY.issuer) == registration
    assert await again.registration("https://other.example") is None
    assert await again.login("https://mcp.example/mcp") == login
    assert (await again.logins(), await again.keys()) == ([login], [KEY])
    await again.forget_login("https://mcp.example/mcp")
    assert await again.logins() == []
    await again.forget_all()
    assert await again.load(KEY) is None
    assert "s" not in repr((registration, login)).replace("'", " ").split(" ")


@pytest.mark.parametrize("entry", ["no json", "[]", '{"unknown": 1}'])
async def test_an_entry_that_can_not_be_understood_is_none(entry: str) -> None:
    vault = MemoryVault()
    storage: TokenStorage = MemoryTokens()
    storage._vault = vault
    await vault.put('["token", "https://auth.example", "https://mcp.example/mcp", "cli"]', entry)
    await vault.put("unnamed", "x")
    await vault.put("[]", "x")
    assert await storage.load(KEY) is None
    assert await storage.keys() == [KEY]


async def test_a_file_that_is_no_token_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").touch(mode=0o600)
    with pytest.raises(UsageError, match="not a token file"):
        await FileTokens(tmp_path / "tokens.json").load(KEY)
