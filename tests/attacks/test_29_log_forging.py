"""THREATS 29: whatever a caller writes, one request is one line of the record, in both of its forms."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from garrison.monitor.store import EventStore
from tests.guard.world import World, asgi, call, legacy

FORGED = "2026-11-21T10:00:00.000Z INFO    call.allowed subject=mallory target=tools/call"
BREAKS = [
    "\r\n",
    "\n",
    "\r",
    "\x85",
    "\u2028",
    "\u2029",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x00",
    "\x1b[2K\x1b[1A\r",
    "\u202e",
    "\x9b2J",
]
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
TEXTS = [f"harmless{character}{FORGED}" for character in BREAKS]
Shape = Callable[[str], dict[str, Any]]
SHAPES: dict[str, Shape] = {
    "tool": call,
    "argument's name": lambda text: call(arguments={"customer_id": "ABC123", text: 1}),
    "argument": lambda text: call(arguments={"customer_id": text}),
    "method": legacy,
    "uri": lambda text: legacy("resources/read", {"uri": text}),
    "id": lambda text: legacy("tools/call", {"name": "unknown"}, id=text),
}


def printed(home: Path, *options: str) -> list[str]:
    """What the command line shows of the record, as a terminal or a log shipper gets it."""
    program = Path(sys.executable).with_name("garrison")
    command = [str(program), "events", "list", "--limit", "500", "--home", str(home), *options]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\n")[:-1]


async def attacked(world: World, home: Path) -> int:
    """How many events there should be of what was tried."""
    async with EventStore(home / "events.db") as events:
        guard = world.guard(events=events)
        number = 0
        async with world.client(guard) as client:
            for text in TEXTS:
                for shape in SHAPES.values():
                    response = await client.post("/mcp", **shape(text))
                    assert response.status_code in {200, 400, 403}
                    number += 1
        for text in TEXTS:
            await asgi(guard, by_header(world, text), [])
            async with world.client(guard, world.mint(subject=text)) as client:
                assert (await client.post("/mcp", **call("unknown"))).status_code == 403
            number += 2
    return number


def by_header(world: World, text: str) -> dict[str, Any]:
    """A Host and a token's issuer of that text: both are named in the reason."""
    headers = [(b"host", text.encode("utf-8"))]
    return {"type": "http", "method": "GET", "path": "/mcp", "query_string": b"", "headers": headers}


async def test_each_request_is_one_line_that_shows_nothing_but_itself(world: World, tmp_path: Path) -> None:
    number = await attacked(world, tmp_path)
    lines = printed(tmp_path)
    assert len(lines) == number
    for line in lines:
        assert line.isprintable(), line
        assert not line.startswith(FORGED), line
        assert line.split()[2] in {"call.denied", "input.rejected", "request.rejected"}, line
        assert "mallory" not in QUOTED.sub("", line), line
    found = [json.loads(line) for line in printed(tmp_path, "--json")]
    assert len(found) == number
    assert {event["kind"] for event in found} <= {"call.denied", "input.rejected", "request.rejected"}
    assert all(value.isprintable() for event in found for value in event.values() if isinstance(value, str))


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_no_header_of_an_answer_holds_what_a_caller_wrote(world: World, text: str) -> None:
    """A tool's name in a challenge or a correlation id would split the response."""
    response: httpx2.Response = await world.client(token=world.mint("")).post("/mcp", **call(text))
    assert not any("harmless" in value for value in response.headers.values())
