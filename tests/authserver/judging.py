"""A request as it comes off the wire, and what every answer must be like, whatever was asked."""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes

from starlette.types import ASGIApp, Message

from garrison.authserver import errors
from garrison.authserver.app import ROUTES
from garrison.authserver.federation import departure

PAGES = (*(row.path for row in ROUTES if row.error is errors.as_page), departure.PATH, departure.RETURN_PATH)
"""Whose errors are for people."""


@dataclass
class Request:
    """`cut_off`: the peer goes away before the end of the body."""

    method: str = "GET"
    path: str = "/"
    query: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    cut_off: bool = False
    address: str = "203.0.113.7"


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for known, value in self.headers if known == name), "")

    @property
    def text(self) -> str:
        return self.body.decode()


async def ask(app: ASGIApp, request: Request) -> Answer:
    """The answer, which must be a whole one."""
    messages: list[Message] = []
    bodies = deque(request.chunks)

    async def receive() -> Message:
        if not bodies and request.cut_off:
            return {"type": "http.disconnect"}
        body = bodies.popleft() if bodies else b""
        return {"type": "http.request", "body": body, "more_body": bool(bodies) or request.cut_off}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "https",
        "method": request.method,
        "path": request.path,
        "raw_path": quote_from_bytes(request.path.encode()).encode(),
        "root_path": "",
        "query_string": request.query,
        "headers": request.headers,
        "client": (request.address, 50000) if request.address else None,
        "server": ("auth.example", 443),
    }
    await app(scope, receive, send)
    start, *rest = messages
    assert rest, "an answer without an end"
    assert not rest[-1].get("more_body"), "an answer without an end"
    headers = [(name.decode("ascii").lower(), value.decode("ascii")) for name, value in start["headers"]]
    return Answer(start["status"], headers, b"".join(message["body"] for message in rest))


def judge(request: Request, answer: Answer, secrets: Iterable[str]) -> None:
    """Raises `AssertionError` if this is no answer to give."""
    assert answer.status < 500 or _is_the_providers_fault(request, answer), "the server failed"
    told = answer.text + " ".join(value for name, value in answer.headers if name != "set-cookie")
    for wrong in ("Traceback", 'File "', "<script>"):
        assert wrong not in told
    for name, value in answer.headers:
        assert value.isprintable(), f"the header {name}"
        assert name != "x-injected"
    assert answer.header("x-content-type-options") == "nosniff"
    if answer.status >= 400:
        assert not [secret for secret in secrets if secret in told], "a secret is in an answer"
        assert answer.header("cache-control") == "no-store"
        _judge_refusal(request, answer)


def _is_the_providers_fault(request: Request, answer: Answer) -> bool:
    """Only there can the identity provider have answered with something that is none, or not at all."""
    return request.path == departure.RETURN_PATH and answer.status in (502, 503) and "identity provider" in answer.text


def _judge_refusal(request: Request, answer: Answer) -> None:
    if request.path in PAGES and answer.status not in (404, 405):
        assert answer.header("content-type") == "text/html; charset=utf-8"
        assert "frame-ancestors 'none'" in answer.header("content-security-policy")
        assert request.method == "HEAD" or "</html>" in answer.text
        return
    if answer.header("content-type").startswith("text/plain"):
        assert request.method == "OPTIONS", "Starlette's own answer to a preflight that asks for too much"
        return
    assert answer.header("content-type") == "application/json"
    if answer.body or request.method != "HEAD":
        document = json.loads(answer.body)
        assert document.keys() == {"error", "error_description"}
        assert document["error"].replace("_", "").isalpha()
        assert document["error_description"].isascii()
        assert not set(document["error_description"]) & set('"\\'), "RFC 6749 section 5.2"
    if answer.status == 401:
        assert answer.header("www-authenticate")
    if answer.status == 405:
        assert answer.header("allow")
    if answer.status == 429:
        assert int(answer.header("retry-after")) > 0
