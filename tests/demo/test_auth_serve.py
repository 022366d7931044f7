"""`garrison auth serve` beside a server whose policy it doesn't see: a real process, real HTTP."""

from pathlib import Path

import httpx2
import pytest

from garrison.authserver import admin
from garrison.authserver.admin import open_store
from garrison.home import Home
from tests.demo.test_demo import first_line, ports, started


@pytest.mark.no_cover
async def test_scope_names_what_tokens_can_allow_where_no_policy_is_at_hand(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")
    home.folder.mkdir(mode=0o700)
    home.make_secret()
    async with open_store(home.auth_database_url()) as store:
        client = await admin.add_client(store, "adder", grants=["client_credentials"], scope="math:use customer:read")
    auth_port, mcp_port = ports()
    issuer, resource = f"http://localhost:{auth_port}", f"http://localhost:{mcp_port}/mcp"
    serve = ("auth", "serve", "--http", "--home", "h", "--port", auth_port, "--issuer", issuer, "--resource", resource)
    form = {"grant_type": "client_credentials", "resource": resource}
    auth = httpx2.BasicAuth(client.client_id, client.client_secret or "")
    with started(tmp_path, *serve, "--scope", "math:use") as process:
        assert first_line(process) == f"ready {issuer}"
        async with httpx2.AsyncClient(trust_env=False, auth=auth) as http:
            granted = await http.post(f"{issuer}/token", data={**form, "scope": "math:use"})
            refused = await http.post(f"{issuer}/token", data={**form, "scope": "customer:read"})
    assert granted.json()["scope"] == "math:use"
    assert refused.json()["error"] == "invalid_scope"
