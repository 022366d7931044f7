"""`garrison init`: everything that an installation needs, made at random once, and left alone from then on."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from garrison.authserver.admin import add_client, add_user, list_users, open_store
from garrison.authserver.stores.store import Store
from garrison.base.errors import GarrisonError
from garrison.base.files import locked, make_private_folder, write_private
from garrison.config.file import FILE
from garrison.config.template import TEMPLATE
from garrison.demo.policy import SCOPES
from garrison.home import Home
from garrison.oauth import scope
from garrison.tls.authority import ensure

CLAUDE_AND_OPENAI = ("claude-desktop-client", "openai-mcp-client")
ADMINISTRATOR = "admin_user"
CLIENT_NAME = "mcp-secure-client"
USER_NAME = "demo_user"
ORDINARY = frozenset(SCOPES) - {"security:read"}
"""What the guide gave to everybody; the first client and the administrator have all."""
GRANTS = ("client_credentials", "authorization_code", "refresh_token")
REDIRECT_URI = "http://127.0.0.1/callback"  # RFC 8252 §7.3: a loopback redirect takes any port


async def install(home: Home, database_url: str | None = None) -> Sequence[Path]:
    """Make what is missing in `home`, and the first accounts in the database (default: that of `home`).

    Returns:
        The files that were made.

    Raises:
        GarrisonError: something there is broken, or can't be written. What exists is never overwritten.
    """
    make_private_folder(home.folder)
    with locked(home.folder / ".lock"):  # two that start at once must not each make a half
        before = set(_files(home.folder))
        home.make_secret()
        ensure(home.folder)
        settings = home.folder / FILE
        if not settings.exists():
            write_private(settings, TEMPLATE.encode())
        async with open_store(home.auth_database_url(database_url)) as store:
            await _first_client_and_user(home, store)
            await _demo_accounts(home, store)
        return sorted(set(_files(home.folder)) - before)


async def _first_client_and_user(home: Home, store: Store) -> None:
    if not home.client.exists():
        home.write_credentials(home.client, await _client(store, CLIENT_NAME, SCOPES))
    if not home.user.exists():
        home.write_credentials(home.user, await _user(home, store, home.user, USER_NAME, ORDINARY))


async def _demo_accounts(home: Home, store: Store) -> None:
    """The other accounts that the guide's server had, each with a secret of its own."""
    path = home.demo_accounts
    if not path.exists():
        administrator = await _user(home, store, path, ADMINISTRATOR, {*SCOPES, "admin:all"})
        made = [await _client(store, name, ORDINARY) for name in CLAUDE_AND_OPENAI]
        home.write_credentials(path, {"clients": made, "users": [administrator]})


async def _client(store: Store, name: str, scopes: Iterable[str]) -> dict[str, str | None]:
    made = await add_client(store, name, grants=GRANTS, scope=scope.render(scopes), redirect_uris=[REDIRECT_URI])
    return {"client_id": made.client_id, "client_secret": made.client_secret, "name": name}


async def _user(home: Home, store: Store, path: Path, name: str, scopes: Iterable[str]) -> dict[str, str]:
    """A password can't be shown again, and a user is not made anew behind the back of whoever has it."""
    if any(user.username == name for user in await list_users(store)):
        raise GarrisonError(
            f"{path} is missing, but the user {name} exists",
            f"Restore the file, or: garrison auth user remove {name} --home {home.folder}",
        )
    made = await add_user(store, name, scope=scope.render(scopes))
    return {"username": made.username, "password": made.password}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
