"""`garrison init`: everything that an installation needs, made at random once, and left alone from then on."""

from collections.abc import Sequence
from pathlib import Path

from garrison.authserver.admin import add_client, add_user, list_users, open_store
from garrison.authserver.stores.store import Store
from garrison.base.errors import GarrisonError
from garrison.base.files import locked, make_private_folder, write_private
from garrison.config import FILE, TEMPLATE
from garrison.demo.policy import SCOPES
from garrison.home import Home
from garrison.oauth import scope
from garrison.tls.authority import ensure

CLIENT_NAME = "mcp-secure-client"
USER_NAME = "demo_user"
GRANTS = ("client_credentials", "authorization_code", "refresh_token")
REDIRECT_URI = "http://127.0.0.1/callback"  # RFC 8252 §7.3: a loopback redirect takes any port


async def install(home: Home) -> Sequence[Path]:
    """Make what is missing in `home`, and return what was made.

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
        await _first_client_and_user(home)
        return sorted(set(_files(home.folder)) - before)


async def _first_client_and_user(home: Home) -> None:
    every_scope = scope.render(SCOPES)
    async with open_store(home.auth_database_url) as store:
        if not home.client.exists():
            client = await add_client(
                store, CLIENT_NAME, grants=GRANTS, scope=every_scope, redirect_uris=[REDIRECT_URI]
            )
            home.write_credentials(
                home.client, {"client_id": client.client_id, "client_secret": client.client_secret, "name": CLIENT_NAME}
            )
        if not home.user.exists():
            await _check_no_user(store, home)
            user = await add_user(store, USER_NAME, scope=every_scope)
            home.write_credentials(home.user, {"username": user.username, "password": user.password})


async def _check_no_user(store: Store, home: Home) -> None:
    """A password can't be shown again, and a user is not made anew behind the back of whoever has it."""
    if any(user.username == USER_NAME for user in await list_users(store)):
        raise GarrisonError(
            f"{home.user} is missing, but the user {USER_NAME} exists",
            f"Restore the file, or: garrison auth user remove {USER_NAME} --home {home.folder}",
        )


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
