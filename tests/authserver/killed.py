"""Redeems codes and refresh tokens, and is killed (SIGKILL) on the way, at the point that each job names.

Started with the database's URL; reads jobs from its standard input, one JSON object a line, and forks for each. What a
client was told before the end is printed.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import httpx2
import sqlalchemy as sa

from garrison.authserver.app import create_app
from garrison.authserver.settings import AuthServerSettings
from garrison.base.events import Event, Kind
from garrison.oauth import access_token
from tests.authserver.world import ISSUER, RESOURCE, SCOPES, START

POINTS = ("before the record", "after the record", "before the commit", "after the commit", "after the answer")


class Killer:
    """An event sink, for what happens at the record happens there."""

    def __init__(self, point: str) -> None:
        self.point = point
        self.recorded = False

    def at(self, point: str) -> None:
        if self.point == point:
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    async def write(self, event: Event) -> None:
        if event.kind is Kind.TOKEN_ISSUED:
            self.at("before the record")
            self.at("after the record")
            self.recorded = True

    def write_soon(self, event: Event) -> None:
        raise NotImplementedError

    def commit(self, _connection: sa.Connection) -> None:
        if self.recorded:
            self.at("before the commit")

    def connect(self, open_file: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        """SQLite's own driver, told of each statement before it is carried out."""

        def connecting(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection = open_file(*args, **kwargs)
            connection.set_trace_callback(self.on_statement)
            return connection

        return connecting

    def on_statement(self, statement: str) -> None:
        if self.recorded and statement == "COMMIT":
            self.at("before the commit")

    def sign(self, issue_token: Callable[..., str]) -> Callable[..., str]:
        def signing(*args: Any, **kwargs: Any) -> str:
            self.at("after the commit")
            return issue_token(*args, **kwargs)

        return signing


async def ask(url: str, job: dict[str, Any]) -> None:
    killer = Killer(job["point"])
    sa.event.listen(sa.Engine, "commit", killer.commit)
    mock.patch.object(sqlite3, "connect", killer.connect(sqlite3.connect)).start()
    mock.patch.object(access_token, "issue", killer.sign(access_token.issue)).start()
    settings = AuthServerSettings(issuer=ISSUER, database_url=url, secret=b"s" * 32, resources={RESOURCE: SCOPES})
    app = create_app(settings, events=killer, clock=lambda: START)
    transport = httpx2.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        response = await http.post("/token", data=job["form"], auth=(job["client_id"], job["client_secret"]))
        print(json.dumps({"point": job["point"], "status": response.status_code, **response.json()}))
        killer.at("after the answer")


def main(url: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(ask(url, json.loads(line)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"it was not killed: {line}")


if __name__ == "__main__":
    main(sys.argv[1])
