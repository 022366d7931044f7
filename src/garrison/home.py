"""The state folder: where keys, certificates, databases and first credentials of an installation lie.

    ca.pem ca-key.pem server.pem server-key.pem ca-bundle.pem    the local authority and what it signed (tls/)
    secret.key           32 random bytes: sessions and form tokens are bound, and the signing keys sealed, with them
    auth.db events.db customers.db                               what the servers remember
    events.db.pending-*  events of each process that are not in events.db yet
    client.json user.json demo-accounts.json                     the first clients and users, with their secrets
    issuers.json         the addresses that the authorization server was served at from here

Everything is mode 0600 in a folder of mode 0700, made at random once, and never overwritten.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from garrison.base.errors import GarrisonError, UsageError
from garrison.base.files import write_private

SECRET_BYTES = 32
_OTHERS = 0o077
_WRITTEN_BY_OTHERS = 0o022


@dataclass(frozen=True)
class Home:
    """One state folder, and the paths in it."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def secret(self) -> Path:
        return self.folder / "secret.key"

    @property
    def events(self) -> Path:
        return self.folder / "events.db"

    @property
    def customers(self) -> Path:
        return self.folder / "customers.db"

    def auth_database_url(self, configured: str | None = None) -> str:
        """Where the authorization server remembers: where the settings say, else in this folder."""
        return configured or f"sqlite+aiosqlite:///{self.folder.resolve() / 'auth.db'}"

    @property
    def client(self) -> Path:
        return self.folder / "client.json"

    @property
    def user(self) -> Path:
        return self.folder / "user.json"

    @property
    def demo_accounts(self) -> Path:
        return self.folder / "demo-accounts.json"

    def check_own(self, *, named: bool) -> None:
        """Before a client leans on what is in the folder. It need not be there.

        Args:
            named: whether the user named it. Whose it is isn't asked then: in containers and CI it is often another's.

        Raises:
            UsageError: it is somebody else's, or others can write into it.
        """
        if not self.folder.exists():
            return
        about = self.folder.stat()
        if not named and about.st_uid != os.geteuid():
            raise UsageError(
                f"{self.folder} belongs to another user",
                f"If you trust what is in it, name it: --home {self.folder} (GARRISON_HOME).",
            )
        if about.st_mode & _WRITTEN_BY_OTHERS:
            raise UsageError(f"others can write into {self.folder}", f"Close it: chmod 700 {self.folder}")

    def make_secret(self) -> None:
        """Make the secret, if it is missing."""
        if not self.secret.exists():
            write_private(self.secret, secrets.token_bytes(SECRET_BYTES))

    def read_secret(self) -> bytes:
        """Raises `GarrisonError`."""
        secret = self._read(self.secret)
        if len(secret) < SECRET_BYTES:
            raise GarrisonError(f"{self.secret} is too short", _RESTORE)
        return secret

    def read_credentials(self, path: Path) -> Mapping[str, Any]:
        """What `client.json` or `user.json` holds. Raises `GarrisonError`."""
        try:
            credentials = json.loads(self._read(path))
        except ValueError as error:
            raise GarrisonError(f"{path} is not JSON", _RESTORE) from error
        if not isinstance(credentials, dict):
            raise GarrisonError(f"{path} is not a JSON object", _RESTORE)
        return credentials

    def record_issuer(self, issuer: str) -> None:
        """Remember that `issuer` is served from here: the credentials in this folder may go to it, and to no other."""
        known = self.issuers()
        if issuer not in known:
            write_private(self.folder / "issuers.json", json.dumps([*known, issuer]).encode() + b"\n")

    def issuers(self) -> list[str]:
        """Those that `record_issuer` was told. Raises `GarrisonError`."""
        path = self.folder / "issuers.json"
        if not path.exists():
            return []
        try:
            return [str(issuer) for issuer in json.loads(self._read(path))]
        except (ValueError, TypeError) as error:
            raise GarrisonError(f"{path} is not a list of issuers", "Remove it; garrison up writes it anew.") from error

    def write_credentials(self, path: Path, credentials: Mapping[str, Any]) -> None:
        write_private(path, json.dumps(dict(credentials), indent=2).encode() + b"\n")

    def _read(self, path: Path) -> bytes:
        try:
            if path.stat().st_mode & _OTHERS:
                raise UsageError(f"{path} is open to others", f"Close it: chmod 600 {path}")
            return path.read_bytes()
        except FileNotFoundError as error:
            raise UsageError(f"{path} is not there", f"Make it: garrison init --home {self.folder}") from error
        except OSError as error:
            raise GarrisonError(f"{path} can't be read ({error.strerror})", _RESTORE) from error


_RESTORE = "Restore it from a backup, or remove it and run garrison init."
