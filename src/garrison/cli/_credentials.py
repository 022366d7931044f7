"""The client id and the secret that a command uses, which always come from the same place."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from garrison.home import Home


def credentials(args: argparse.Namespace, home: "Home", url: str) -> tuple[str | None, str | None]:
    """Client id and secret; None for each that there is not. Raises `UsageError`."""
    from garrison.base.errors import UsageError
    from garrison.clients.destination import is_local
    from garrison.config.clients import client_settings

    if (args.client_secret_file or args.private_key_file) and not args.client_id:
        option = "--client-secret-file" if args.client_secret_file else "--private-key-file"
        raise UsageError(f"{option} without --client-id", "Give both.")
    if args.client_id:
        return args.client_id, _secret(args.client_secret_file) if args.client_secret_file else None
    said = client_settings(os.environ)
    if said.client_id:
        return said.client_id, said.client_secret
    # The folder's client is for servers on this machine, unless the user names its issuer.
    if home.client.exists() and (is_local(url) or args.issuer or said.issuer or not args.login):
        first = home.read_credentials(home.client)
        return first.get("client_id"), first.get("client_secret")
    return None, None


def _secret(file: Path) -> str:
    from garrison.base.errors import UsageError

    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} can't be read: {getattr(error, 'strerror', None) or 'not text'}") from error
    if not secret:
        raise UsageError(f"{file} is empty", "It must hold the client's secret and nothing else.")
    return secret
