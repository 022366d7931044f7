"""The three walks of docs/architecture.md, recorded from the running system, compared with the files beside this one.

After an intended change: GARRISON_GOLDEN=write .venv/bin/pytest tests/golden, and read what changed.
"""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from garrison.clients.adapters import load
from garrison.clients.session import connect
from garrison.config.server import server_settings
from garrison.demo.installation import install
from garrison.demo.scripted_model import create_app
from garrison.demo.system import Addresses, serving_both
from garrison.demo.wire import call_tool
from garrison.home import Home
from garrison.oauth.basic import render_basic
from garrison.serving import Endpoint, bind, free_port, running
from tests.golden.walk_recorder import Recorder, recording

HERE = Path(__file__).parent
SERVER = ("guard/", "oauth/", "limits/", "content/", "monitor/", "base/events.py")
TOKEN = ("authserver/", "oauth/", "base/events.py")
CHAT = ("clients/",)  # the servers of the same thread use oauth/ too, in an order of their own


@dataclass(frozen=True)
class System:
    at: Addresses
    client_id: str
    client_secret: str
    token: str


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """Both servers over plain HTTP on this machine, in this thread, and a token for the first client."""
    home = Home(tmp_path / "h")
    await install(home)
    at = Addresses(free_port("localhost", 0), free_port("localhost", 0), tls=False)
    client = home.read_credentials(home.client)
    async with serving_both(home, server_settings(home.folder, {}), at):
        token = await request_token(at, client["client_id"], client["client_secret"])
        yield System(at, client["client_id"], client["client_secret"], token)


async def request_token(at: Addresses, client_id: str, client_secret: str) -> str:
    form = {"grant_type": "client_credentials", "scope": "customer:read", "resource": at.resource}
    headers = {"authorization": render_basic(client_id, client_secret)}
    async with httpx2.AsyncClient(trust_env=False, timeout=120) as http:
        response = await http.post(f"{at.issuer}/token", data=form, headers=headers)
        response.raise_for_status()
        return str(response.json()["access_token"])


def compare(name: str, recorded: Recorder) -> None:
    golden = HERE / f"walk_{name}.txt"
    seen = "\n".join(recorded.names) + "\n"
    if os.environ.get("GARRISON_GOLDEN") == "write":
        golden.write_text(seen)
    assert seen == golden.read_text()


async def test_a_tool_call_takes_the_walk_of_the_map(system: System) -> None:
    async with httpx2.AsyncClient(trust_env=False, timeout=120) as http:
        arguments = {"customer_id": "ABC123"}
        with recording(*SERVER) as recorded:
            response = await call_tool(http, system.at.resource, system.token, "get_customer_info", arguments)
    assert response.status_code == 200
    compare("tools_call", recorded)


async def test_a_token_request_takes_the_walk_of_the_map(system: System) -> None:
    with recording(*TOKEN) as recorded:
        await request_token(system.at, system.client_id, system.client_secret)
    compare("token_request", recorded)


async def test_a_chat_turn_takes_the_walk_of_the_map(system: System) -> None:
    sockets = bind("scripted model", "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/v1"
    ask = load("openai").run
    async with running(Endpoint("scripted model", create_app(), sockets)):
        with recording(*CHAT) as recorded:
            async with connect(
                system.at.resource,
                client_id=system.client_id,
                client_secret=system.client_secret,
                issuer=system.at.issuer,
            ) as session:
                answer = await ask(session, "Get information about customer ABC123", base_url=base_url, api_key="any")
    assert [call.name for call in answer.calls] == ["get_customer_info"]
    compare("chat_turn", recorded)
