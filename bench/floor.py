"""The least that a guard in Python can cost that tells FastMCP the caller: one function, no more than one look at each.

It is no guard to use: it knows one tool, one caller and one revision, forgets nothing, and answers nothing where it
refuses. What it costs over a server that is told who calls is the price of the acts themselves; what ours costs over
it is the price of all the other cases, and of a part for each.
"""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
from bench.told import told
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_read, _write = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


def floor(app: ASGIApp, schema: dict[str, Any], journal: Path, limit: int) -> ASGIApp:
    inner = AuthContextMiddleware(app)
    validator = jsonschema_rs.validator_for(schema)
    descriptor = os.open(journal, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    callers: dict[bytes, tuple[str, float]] = {}
    requests: dict[str, int] = {}
    tokens: dict[str, int] = {}

    async def guarding(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        now, digest = time.time(), hashlib.sha256(headers["authorization"].encode()).digest()
        who, until = callers.setdefault(digest, ("bench", now + 3600))  # as one that was verified
        body = (await receive())["body"]
        message = _read(body)
        params = message["params"]
        requests[who] = requests.get(who, 0) + 1
        tokens[who] = tokens.get(who, 0) + len(body) // 4
        allowed = (
            headers["host"] == "localhost:8000"
            and scope["path"] == "/mcp"
            and now < until
            and _write(message) == body
            and (message["method"], params["name"]) == (headers["mcp-method"], headers["mcp-name"])
            and max(requests[who], tokens[who]) <= limit
            and validator.is_valid(params["arguments"])
        )
        if not allowed:
            raise SystemExit("refused")
        os.write(descriptor, _write({"kind": "call.allowed", "subject": who, "target": "add", "time": now}) + b"\n")

        async def receive_again() -> Message:
            return {"type": "http.request", "body": body}

        async def count(event: Message) -> None:
            tokens[who] += len(event.get("body", b"")) // 4
            await send(event)

        await inner(told(scope), receive_again, count)

    return guarding
