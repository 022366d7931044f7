"""What bridges keep in the state folder: a log each, the tokens that they share, and the lock of their login."""

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from garrison.base.errors import GarrisonError
from garrison.base.files import make_private_folder
from garrison.cli._log import start_log


@dataclass(frozen=True)
class BridgeState:
    log: Path
    tokens: Path
    lock: Path


def prepare(home: Path, url: str, level: str | None) -> BridgeState | None:
    """Start the log; None if `home` can't be used: then the bridge remembers nothing.

    Raises:
        UsageError: there is no such log level.
    """
    folder = home.absolute() / "bridge"
    mark = f"{name_of(url)}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    try:
        make_private_folder(home.absolute())
        make_private_folder(folder)
    except GarrisonError as error:
        start_log(None, level)
        logging.getLogger("garrison.bridge").warning("%s: nothing is kept. Say --home.", error.message)
        return None
    state = BridgeState(folder / f"{mark}.log", folder / "tokens.json", folder / f"{mark}.lock")
    start_log(state.log, level)
    return state


def name_of(url: str) -> str:
    """A name for the server at `url` that every program takes: its host and port."""
    parts = urlsplit(url)
    port = f"-{parts.port}" if parts.port else ""
    return re.sub(r"[^a-z0-9]+", "-", f"{(parts.hostname or '').lower()}{port}").strip("-") or "server"
