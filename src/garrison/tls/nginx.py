"""The nginx configuration of a deployment: TLS in front of the authorization server and the MCP server.

The text is in nginx.conf.j2, and reads as what it is. Every value put into it is checked here first, so that no
setting can end a directive and begin another.
"""

import dataclasses
import functools
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
from cryptography import x509

from garrison.base.errors import UsageError
from garrison.tls import names

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
HTTPS_PORT = 443

_PATH = re.compile(r"""/[^\x00-\x1f\x7f"'\\${};]*""")
_MCP_PATH = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


@dataclass(frozen=True, kw_only=True)
class NginxSettings:
    """One nginx in front of one authorization server and one MCP server. Raises UsageError for a value it can't take.

    Attributes:
        certificate, key: PEM files, absolute, as nginx sees them; the leaf first, then any intermediates.
        auth_upstream, mcp_upstream: where plain HTTP is served: `host:port` or `[address]:port`.
        run_folder: for the pid file and temporary files; absolute, exists, nginx may write there.
        server_name: the one host name (or address) of both; every other is refused.
        auth_port, mcp_port: the TLS ports, which are also the issuer's and the resource's.
        http_port: where plain HTTP is sent on to TLS; None listens on no such port.
        mcp_path: the path of the resource.
        addresses: to listen on.
        error_log: an absolute path, or "stderr".
        access_log: an absolute path, or "off".
        user: whom workers run as; only for an nginx that root starts.
        auth_max_body, mcp_max_body: bytes of a request body.
        client_timeout: seconds that a client may take between two pieces of a request's body, or for all of its header.
        stream_timeout: seconds that an event stream may be silent.
        ocsp_resolver: address of a DNS resolver; turns OCSP stapling on, for a public CA that still answers OCSP.
    """

    certificate: Path
    key: Path
    auth_upstream: str
    mcp_upstream: str
    run_folder: Path
    server_name: str = "localhost"
    auth_port: int = 8443
    mcp_port: int = 8001
    http_port: int | None = 80
    mcp_path: str = "/mcp"
    addresses: tuple[str, ...] = ("0.0.0.0",)
    error_log: str = "stderr"
    access_log: str = "off"
    user: str | None = None
    auth_max_body: int = 65_536
    mcp_max_body: int = 1_048_576
    client_timeout: int = 10
    stream_timeout: int = 3600
    ocsp_resolver: str | None = None

    def __post_init__(self) -> None:
        for field in ("certificate", "key", "run_folder"):
            _check(field, str(getattr(self, field)), _PATH)
        for field, word in (("error_log", "stderr"), ("access_log", "off")):
            if getattr(self, field) != word:
                _check(field, getattr(self, field), _PATH)
        _check("mcp_path", self.mcp_path, _MCP_PATH)
        if self.user is not None:
            _check("user", self.user, _USER)
        for field in ("auth_max_body", "mcp_max_body", "client_timeout", "stream_timeout"):
            _check_number(field, getattr(self, field), most=2**31)
        self._check_network()

    def _check_network(self) -> None:
        _host(self.server_name)
        for upstream in (self.auth_upstream, self.mcp_upstream):
            _upstream(upstream)
        for address in (*self.addresses, *([] if self.ocsp_resolver is None else [self.ocsp_resolver])):
            _address(address)
        ports = [port for port in (self.auth_port, self.mcp_port, self.http_port) if port is not None]
        for port in ports:
            _check_number("port", port, most=65_535)
        if len(set(ports)) < len(ports) or not self.addresses:
            raise UsageError("nginx needs an address, and a different port for each of its servers.")


def render(settings: NginxSettings) -> str:
    """The whole nginx.conf, for `nginx -c`."""
    name = _host(settings.server_name)
    values = dataclasses.asdict(settings) | {
        "server_name": name,
        "auth_host": name if settings.auth_port == HTTPS_PORT else f"{name}:{settings.auth_port}",
        "mcp_host": name if settings.mcp_port == HTTPS_PORT else f"{name}:{settings.mcp_port}",
        "auth_upstream": _upstream(settings.auth_upstream),
        "mcp_upstream": _upstream(settings.mcp_upstream),
        "addresses": [_address(address) for address in settings.addresses],
        "ocsp_resolver": settings.ocsp_resolver and _address(settings.ocsp_resolver),
        "ciphers": CIPHERS,
    }
    return _template().render(values)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("garrison.tls", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  not HTML; NginxSettings checks every value
    )
    return environment.get_template("nginx.conf.j2")


def _check(field: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise UsageError(
            f"nginx can't take {value[:100]!r} as its {field.replace('_', ' ')}.",
            "Paths are absolute, and no value holds quotes, braces, semicolons, dollar signs or control characters.",
        )


def _check_number(field: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise UsageError(f"nginx can't take {value} as its {field.replace('_', ' ')}: it is from 1 to {most}.")


def _host(name: str) -> str:
    parsed = names.parse(name)
    return parsed.value if isinstance(parsed, x509.DNSName) else _address(str(parsed.value))


def _address(address: str) -> str:
    """The address as nginx and a Host header write it. Raises UsageError when it is none."""
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError as error:
        raise UsageError(f"{address[:100]!r} is no IP address that nginx could listen on or ask.") from error
    if parsed.version == 6 and parsed.scope_id:  # noqa: PLR2004  IP's
        raise UsageError("nginx can't take an address with a zone.")
    return f"[{parsed}]" if parsed.version == 6 else str(parsed)  # noqa: PLR2004  IP's


def _upstream(upstream: str) -> str:
    host, _, port = upstream.rpartition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):  # noqa: PLR2004  TCP's
        raise UsageError(f"The upstream {upstream[:100]!r} has no port.", "Write it as host:port.")
    return f"{_host(host)}:{int(port)}"
