"""What bridges keep: a log each in the state folder; their tokens where the user's other logins are."""

import hashlib
import logging
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from garrison.base.errors import GarrisonError
from garrison.base.files import PRIVATE_FOLDER, make_private_folder
from garrison.cli._log import start_log

log = logging.getLogger("garrison.bridge")


def prepare(home: Path, url: str, level: str | None) -> Path | None:
    """Start the log, and return its file; None if `home` can't be used: then it goes to standard error alone.

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
        log.warning("%s: no log is kept. Say --home.", error.message)
        return None
    file = folder / f"{mark}.log"
    start_log(file, level)
    return file


def can_keep(logins: Path) -> bool:
    """Whether logins can be kept in the folder `logins`; a bridge works without, and forgets with its process."""
    try:
        logins.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        usable = os.access(logins, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        log.warning("%s can't be written to: no login is kept. Set GARRISON_LOGINS.", logins)
    return usable


def name_of(url: str) -> str:
    """A name for the server at `url` that every program takes: its host and port."""
    parts = urlsplit(url)
    port = f"-{parts.port}" if parts.port else ""
    return re.sub(r"[^a-z0-9]+", "-", f"{(parts.hostname or '').lower()}{port}").strip("-") or "server"
