"""Names that lead inside: a server elsewhere names an authorization server whose name has a special-use address."""

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from garrison.base.errors import GarrisonError
from garrison.clients.session import connect
from garrison.tls.authority import ensure
from tests.clients.world import CLIENT_ID, CLIENT_SECRET, AuthServer, McpGate, serving

NAMES = ("mcp.example", "auth.example")
REFUSED = "special-use address"


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Certificates of both names, which lead to this machine from now on."""
    ensure(tmp_path, names=NAMES)
    look_up = socket.getaddrinfo

    def inside(host: Any, *more: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return look_up("127.0.0.1" if name in NAMES else host, *more, **options)

    monkeypatch.setattr("socket.getaddrinfo", inside)
    return {"ssl_certfile": str(tmp_path / "server.pem"), "ssl_keyfile": str(tmp_path / "server-key.pem")}


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_name_leads_inside_only_where_the_user_said_that_it_may(
    tmp_path: Path, tls: dict[str, str], *, allowed: bool
) -> None:
    issuer, gate = AuthServer(), McpGate()
    async with serving(issuer.app(), **tls) as at, serving(gate, **tls) as at_gate:
        issuer.issuer = f"https://auth.example:{urlsplit(at).port}"
        gate.url, gate.issuers = f"https://mcp.example:{urlsplit(at_gate).port}/mcp", [issuer.issuer]
        known: dict[str, Any] = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "issuer": issuer.issuer}
        gate.forced = lambda seen: (418, {}) if seen.authorization else None  # as far as it is to go
        with pytest.raises(GarrisonError) as ended:
            async with connect(gate.url, ca_file=tmp_path / "ca.pem", private_addresses=allowed, **known):
                pass
    assert (REFUSED in ended.value.message) is not allowed
    assert len(issuer.forms) == allowed
    assert any(seen.authorization for seen in gate.seen) is allowed
