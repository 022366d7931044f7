"""No setting can end a directive and begin another."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.base.errors import UsageError
from garrison.tls.authority import CertificatePaths
from garrison.tls.nginx import NginxSettings, render
from tests.tls.conftest import free_ports, nginx

PLAIN = NginxSettings(
    certificate=Path("/state/server.pem"),
    key=Path("/state/server-key.pem"),
    auth_upstream="auth:8080",
    mcp_upstream="127.0.0.1:8000",
    run_folder=Path("/run/garrison"),
)
TEXT_FIELDS = (
    "certificate",
    "key",
    "auth_upstream",
    "mcp_upstream",
    "run_folder",
    "server_name",
    "mcp_path",
    "error_log",
    "access_log",
    "user",
    "ocsp_resolver",
)
INJECTIONS = (
    "/x; include /etc/shadow",
    "/x\n}",
    '/x"',
    "/x'",
    "/x{",
    "/x}",
    "/$host",
    "/x\\",
    "/x\0",
    "",
)


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize("value", INJECTIONS)
def test_a_value_that_could_be_read_as_configuration_is_refused(field: str, value: str) -> None:
    whole: Any = Path(value) if isinstance(getattr(PLAIN, field), Path) else value
    with pytest.raises(UsageError):
        dataclasses.replace(PLAIN, **{field: whole})


@pytest.mark.parametrize(
    "change",
    [
        {"certificate": Path("server.pem")},
        {"run_folder": Path("run")},
        {"auth_upstream": "auth"},
        {"auth_upstream": "auth:0"},
        {"auth_upstream": "auth:70000"},
        {"auth_upstream": "auth:80 backup"},
        {"mcp_upstream": "http://mcp:8000"},
        {"mcp_upstream": ":8000"},
        {"server_name": "*.example.com"},
        {"server_name": "_"},
        {"auth_port": 0},
        {"mcp_port": 65_536},
        {"http_port": 8443},
        {"auth_port": 8001},
        {"mcp_path": "mcp"},
        {"mcp_path": "/mcp/"},
        {"mcp_path": "/a/../b"},
        {"mcp_path": "/m cp"},
        {"addresses": ()},
        {"addresses": ("localhost",)},
        {"addresses": ("fe80::1%eth0",)},
        {"user": "www data"},
        {"stream_timeout": 0},
        {"mcp_max_body": 0},
        {"ocsp_resolver": "dns.example.com"},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        dataclasses.replace(PLAIN, **change)


@given(st.text(max_size=40))
def test_whatever_path_is_accepted_stays_inside_its_quotes(text: str) -> None:
    try:
        settings = dataclasses.replace(PLAIN, certificate=Path(f"/{text}"))
    except (UsageError, ValueError):
        return
    assert f'ssl_certificate "{settings.certificate}";\n' in render(settings)
    assert render(settings).count("\n") == render(PLAIN).count("\n")


def test_hosts_carry_their_port_unless_it_is_the_default_one() -> None:
    text = render(dataclasses.replace(PLAIN, server_name="MCP.example.com", auth_port=443))
    assert "return 301 https://mcp.example.com$request_uri;" in text
    assert "proxy_set_header Host mcp.example.com;" in text
    assert "proxy_set_header Host mcp.example.com:8001;" in text


def test_an_ipv6_address_is_listened_on_in_brackets() -> None:
    """Rendered only: nginx would want the address to exist, and not every machine has IPv6."""
    text = render(dataclasses.replace(PLAIN, addresses=("127.0.0.1", "::1")))
    assert "listen 127.0.0.1:8443 ssl http2;" in text
    assert "listen [::1]:8443 ssl http2;" in text
    assert "listen [::1]:80;" in text


def test_timeouts_are_the_settings_own() -> None:
    text = render(dataclasses.replace(PLAIN, client_timeout=7, stream_timeout=77))
    assert "client_header_timeout 7s;" in text
    assert "client_body_timeout 7s;" in text
    assert "proxy_read_timeout 77s;" in text


def test_without_an_http_port_nothing_listens_for_plain_http() -> None:
    text = render(dataclasses.replace(PLAIN, http_port=None))
    assert all(" ssl http2" in line for line in text.splitlines() if line.strip().startswith("listen "))
    assert "return 301" not in text


def test_stapling_is_on_only_where_a_resolver_is_named() -> None:
    assert "ssl_stapling on" not in render(PLAIN)
    assert "ssl_stapling on" in render(dataclasses.replace(PLAIN, ocsp_resolver="192.0.2.53"))


@pytest.mark.needs("nginx")
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"http_port": None},
        {"server_name": "::1"},
        {"mcp_upstream": "[::1]:8000", "mcp_path": "/tools/mcp", "stream_timeout": 60},
        {"ocsp_resolver": "192.0.2.53"},
        {"error_log": "stderr", "access_log": "/dev/stdout"},
    ],
)
def test_nginx_accepts_every_kind_of_settings(tmp_path: Path, paths: CertificatePaths, change: dict[str, Any]) -> None:
    auth, mcp, http = free_ports(3)
    ours = {
        "certificate": paths.server,
        "key": paths.server_key,
        "run_folder": tmp_path,
        "auth_upstream": "127.0.0.1:1",
    }
    ports = {"auth_port": auth, "mcp_port": mcp, "http_port": http}
    settings = dataclasses.replace(PLAIN, **{**ours, **ports, "addresses": ("127.0.0.1",), **change})
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(render(settings))
    judged = nginx("-t", "-c", configuration)
    assert judged.returncode == 0, judged.stderr
