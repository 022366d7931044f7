"""Whatever an app answers to a request for a list: no entry leaks that the caller may not see, and nothing hangs."""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from random import Random
from typing import Any

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from garrison.base.events import NullSink
from garrison.guard import rewriting
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from tests.guard.fuzz import scarred
from tests.guard.world import World, legacy

pytestmark = pytest.mark.no_cover
BATCHES, ANSWERS = 4, 1_500
ALLOWED = {
    "tools": {"get_customer_info", "whoami", "schemaless"},
    "prompts": {"greet"},
    "resources": {"health://status"},
    "resourceTemplates": {"health://status"},
}
"""What a caller with customer:read may know of, by tests/guard/world.py's policy."""
NAMES = {"tools": "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"}
METHODS = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]
ENDS = [b"\n\n", b"\r\n\r\n", b"\r\r"]
PLENTY = LimitSettings(
    requests_per_minute=10_000_000, tokens_per_hour=10_000_000_000, stranger_requests_per_minute=10_000_000
)


def answer(random: Random) -> Any:
    """A JSON-RPC answer with entries that may be seen, and others."""
    member = random.choice(list(NAMES))
    names = [*ALLOWED[member], "hidden", "create_support_ticket", "security://events"]
    entries: list[Any] = [
        {NAMES[member]: random.choice(names), "title": random.choice(["é", "\ud83d", "🙂"])}
        for _ in range(random.randrange(5))
    ]
    entries.append(random.choice([{"name": "hidden"}, {"uri": "hidden"}, {}, None, 7, [{"name": "hidden"}]]))
    found: Any = {"jsonrpc": "2.0", "id": 1, "result": {member: entries, "nextCursor": "2", "cacheScope": "public"}}
    return [found, found] if random.random() < 0.1 else found


def written(random: Random, document: Any, *, stream: bool) -> bytes:
    """`document` as JSON or as one or more events, and sometimes damaged."""
    text = json.dumps(document, ensure_ascii=random.random() < 0.5).encode(errors="backslashreplace")
    if stream:
        end = random.choice(ENDS)
        line = end[: len(end) // 2]
        parted = text.replace(b', "', random.choice([b', "', b"," + line + b'data:"']))
        before = random.choice(
            [b"", b": hi" + end, b"event: message" + line, b"id: 7" + line, BOM_UTF8, b"data" + line]
        )
        text = (before + random.choice([b"data: ", b"data:"]) + parted + end) * random.choice((1, 1, 2))
    while random.random() < 0.4:
        text = scarred(random, text)
    return text


def answering(random: Random, body: bytes, *, stream: bool) -> list[Message]:
    """`body` as an app sends it, or as one would that has lost its way."""
    kind = b"text/event-stream" if stream else b"application/json"
    headers = [
        (b"content-type", random.choice([kind] * 8 + [kind.title(), kind + b"; charset=utf-8", b"text/plain", b""]))
    ]
    places = sorted(random.randrange(len(body) + 1) for _ in range(random.randrange(5)))
    pieces = [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]
    sent: list[Message] = [{"type": "http.response.start", "status": 200, "headers": headers}]
    sent += [{"type": "http.response.body", "body": piece, "more_body": True} for piece in pieces]
    sent.append({"type": "http.response.body", "body": b""})
    if random.random() < 0.1:
        at = random.randrange(len(sent))
        sent.insert(random.randrange(len(sent)), sent.pop(at) if random.random() < 0.5 else dict(sent[at]))
    return sent


def events(stream: bytes) -> Iterator[str]:
    """The data of each event, as the HTML standard's section on server-sent events reads a stream."""
    data: list[str] = []
    for line in re.split("\r\n|\r|\n", stream.decode("utf-8", "replace").removeprefix("\ufeff")):
        name, _, value = line.partition(":")
        if not line and data:
            yield "\n".join(data)
            data = []
        elif name == "data":
            data.append(value.removeprefix(" "))


def leaked(documents: list[str]) -> list[Any]:
    """Entries in `documents` that the caller may not know of."""
    found: list[Any] = []
    for text in documents:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            continue
        for message in document if isinstance(document, list) else [document]:
            found += _hidden(message.get("result")) if isinstance(message, dict) else []
    return found


def _hidden(result: Any) -> list[Any]:
    lists_ = {member: result[member] for member in NAMES if isinstance(result, dict) and member in result}
    return [
        entry
        for member, entries in lists_.items()
        for entry in (entries if isinstance(entries, list) else [])
        if not _may_see(entry, member, NAMES[member])
    ]


def _may_see(entry: Any, member: str, name: str) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get(name), str) and entry[name] in ALLOWED[member]


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_no_answer_leaks_what_its_reader_may_not_see(world: World, batch: int) -> None:
    script: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in script:
            await send(message)

    guard = world.guard(app, events=NullSink(), limiter=Limiter(PLENTY))
    token = world.mint("customer:read")
    shown = 0
    for number in range(batch * ANSWERS, (batch + 1) * ANSWERS):
        random = Random(number)  # noqa: S311 - chance that can be had again, no secret
        stream = random.random() < 0.5
        script = answering(random, written(random, answer(random), stream=stream), stream=stream)
        sent = await asked(guard, token, random)
        body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
        assert leaked([body.decode("utf-8", "replace"), *events(body)]) == [], (number, script)
        assert {message["status"] for message in sent if message["type"] == "http.response.start"} <= {200}
        shown += any(name.encode() in body for names in ALLOWED.values() for name in names)
    assert shown > ANSWERS / 5  # what may be seen is seen


async def asked(guard: Any, token: str, random: Random) -> list[Message]:
    """What the caller gets who asks for a list; an app whose list can't be read breaks its connection off."""
    request = legacy(random.choice(METHODS))
    body = json.dumps(request["json"]).encode()
    headers = {"host": "localhost:8000", "authorization": f"Bearer {token}", "content-type": "application/json"}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": raw}
    with anyio.fail_after(60):
        try:
            await guard(scope, receive, send)
        except rewriting.UnreadableError:
            assert not any(message.get("more_body") is False for message in sent)
    return sent
