"""What the environment says of clients: where their server is, and how they prove themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from garrison.base.errors import UsageError


@dataclass(frozen=True)
class ClientSettings:
    """How a client finds its server and proves itself; None where nothing was said."""

    client_id: str | None
    client_secret: str | None = field(repr=False)
    issuer: str | None
    ca_file: Path | None
    server_url: str | None
    debug_tls: bool
    logins: Path
    use_keyring: bool
    issuer_shape: str | None = None
    token_audience: str | None = None


def client_settings(environ: Mapping[str, str]) -> ClientSettings:
    # SSL_CERT_FILE is OpenSSL's own: it replaces the system's authorities, and the local one is trusted beside them.
    ca_file = environ.get("TLS_CA_CERT_PATH")
    token_url = environ.get("OAUTH_TOKEN_URL", "")
    return ClientSettings(
        client_id=environ.get("OAUTH_CLIENT_ID") or None,
        client_secret=environ.get("OAUTH_CLIENT_SECRET") or None,
        issuer=environ.get("OAUTH_ISSUER_URL") or token_url.removesuffix("/token") or None,
        ca_file=Path(ca_file) if ca_file else None,
        server_url=environ.get("MCP_SERVER_URL") or None,
        debug_tls=environ.get("DEBUG_SSL", "").lower() in {"1", "true", "yes"},
        logins=_logins(environ),
        use_keyring=_switch(environ, "GARRISON_KEYRING", default=True),
        issuer_shape=environ.get("OAUTH_ISSUER_SHAPE") or None,
        token_audience=environ.get("OAUTH_TOKEN_AUDIENCE") or None,
    )


def _logins(environ: Mapping[str, str]) -> Path:
    """The folder of this user's logins: they belong to the person, not to the folder that a command is typed in."""
    if named := environ.get("GARRISON_LOGINS"):
        return Path(named)
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    base = Path(state) if state.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return base / "garrison"


def _switch(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    word = environ.get(name, "").lower()
    if word not in {"", "on", "off"}:
        raise UsageError(f"{name} is {word!r}", "It can be on or off.")
    return word == "on" if word else default
