"""`garrison up` holds callers to the policy of garrison.toml, where that has one."""

from pathlib import Path

import httpx2

from garrison.config.server import server_settings
from garrison.demo.installation import install
from garrison.demo.system import Addresses, serving_both
from garrison.demo.wire import call_tool
from garrison.home import Home
from garrison.oauth.basic import render_basic
from garrison.serving import free_port

POLICY = """
[policy.tools.get_customer_info]
scopes = ["customer:read"]
arguments = { customer_id = ["ABC123"] }
[policy.hierarchy]
"account:calculate" = ["customer:read"]
"""


async def test_the_policy_of_the_file_is_the_one_that_is_served(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")
    await install(home)
    (home.folder / "garrison.toml").write_text(POLICY)
    at = Addresses(free_port("localhost", 0), free_port("localhost", 0), tls=False)
    client = home.read_credentials(home.client)
    headers = {"authorization": render_basic(client["client_id"], client["client_secret"])}
    form = {"grant_type": "client_credentials", "scope": "account:calculate", "resource": at.resource}
    async with serving_both(home, server_settings(home.folder, {}), at), httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{at.issuer}/token", data=form, headers=headers)
        token = answer.raise_for_status().json()["access_token"]

        async def status(tool: str, customer: str) -> int:
            return (await call_tool(http, at.resource, token, tool, {"customer_id": customer})).status_code

        assert await status("get_customer_info", "ABC123") == 200
        assert await status("get_customer_info", "XYZ789") == 403
        assert await status("calculate_account_value", "ABC123") == 403
