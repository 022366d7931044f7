"""Requests that nobody foresaw, made from good ones by seeded chance; and an own, simple idea of which may pass."""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from starlette.types import Message

from tests.guard.world import MODERN, call, legacy, modern

HOST = "localhost:8000"
RULES: Mapping[str, Mapping[str, set[str]]] = {
    "tools/call": {
        "get_customer_info": {"customer:read"},
        "create_support_ticket": {"customer:read", "ticket:create"},
        "whoami": set(),
    },
    "resources/read": {"health://status": set(), "security://events": {"security:read"}},
    "prompts/get": {"greet": {"customer:read"}},
}
"""The policy of tests/guard/world.py, said again."""
FREE = {
    *("initialize", "logging/setLevel", "ping", "prompts/list", "resources/list", "resources/templates/list"),
    *("server/discover", "tools/list"),
    *("notifications/cancelled", "notifications/initialized", "notifications/progress"),
    "notifications/roots/list_changed",
}
ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    2**70,
    1.5,
    "",
    "x" * 300,
    [],
    {},
    ["ABC123"],
    {"a": 1},
    "\x00",
    "\u202e",
    "\ud800",
]
ODD_BYTES = [
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b",",
    b"\r\n",
    b"NaN",
    b"\xef\xbb\xbf",
    b"e9",
]
HOSTS = [
    "evil.example",
    "localhost",
    "LOCALHOST:8000",
    "localhost:8000@evil",
    "localhost:8000/mcp",
    "127.0.0.1:8000",
    "",
]
PATHS = ["/", "/mcp/", "/mcp//", "/mcp/x", "//mcp", "/MCP", "/mcp\x00", "/../mcp", "/mcp;x", "/.well-known/oauth", "é"]
ORIGINS = [
    "http://evil.example",
    "null",
    "http://localhost:8000",
    "https://localhost:8000",
    "",
    "http://LOCALHOST:8000",
]
QUERIES = [b"access_token=x", b"ACCESS_TOKEN=x", b"%61ccess_token", b"a=b&&=", b"\xff\xfe", b"x" * 5000]
NAMES = ["authorization", "host", "origin", "content-type", "content-length", "mcp-method", "mcp-name", "accept"]
NAMES += ["mcp-protocol-version", "mcp-session-id", "x-forwarded-host", "forwarded", "cookie", "x-http-method-override"]


@dataclass
class Shot:
    """One request as an ASGI server would hand it over, and what was meant with it."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    query: bytes = b""
    http_version: str = "1.1"
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = True

    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "http_version": self.http_version,
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "headers": self.headers,
            "client": ("127.0.0.1", 1),
        }

    def events(self) -> list[Message]:
        pieces = self.pieces or [self.body]
        found: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        if self.complete:
            found[-1]["more_body"] = False
        return [*found, {"type": "http.disconnect"}]

    def raw(self) -> bytes:
        """The same on a wire of HTTP/1.1."""
        target = self.path.encode() + (b"?" + self.query if self.query else b"")
        lines = [b"%s %s HTTP/%s" % (self.method.encode(), target, self.http_version.encode())]
        return b"\r\n".join([*lines, *(name + b": " + value for name, value in self.headers), b"", self.body])


def good_shots(token: str) -> list[Shot]:
    """Requests that are let through, of every kind and both eras."""
    posts = [
        call(),
        call("create_support_ticket", {"customer_id": "ABC123", "note": "late"}),
        legacy("tools/call", {"name": "whoami"}),
        legacy("resources/read", {"uri": "security://events"}),
        legacy("prompts/get", {"name": "greet"}),
        legacy("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}),
        legacy("ping"),
        modern("tools/call", {"name": "get_customer_info", "arguments": {"customer_id": "ABC123"}}),
        modern("tools/call", {"name": "whoami", "arguments": {}}),
        modern("resources/read", {"uri": "health://status"}),
        modern("prompts/get", {"name": "greet"}),
        modern("tools/list"),
        {"json": {"jsonrpc": "2.0", "method": "notifications/initialized"}, "headers": {}},
    ]
    shots = [_post(token, post["headers"], post["json"]) for post in posts]
    return [*shots, *(Shot(method, "/mcp", _headers(token, {})) for method in ("GET", "DELETE"))]


def _post(token: str, headers: Mapping[str, str], message: Any) -> Shot:
    body = json.dumps(message).encode()
    more = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    return Shot("POST", "/mcp", _headers(token, more), body)


def _headers(token: str, more: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    headers = {"host": HOST, "authorization": f"Bearer {token}", **more}
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def changed(random: Random, shot: Shot, tokens: list[str]) -> Shot:
    """`shot` after none to three mishaps."""
    shot = replace(shot, headers=list(shot.headers))
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3))):
        random.choice(MISHAPS)(random, shot, tokens)
    if random.random() < 0.2:
        shot.pieces = _cut(random, shot.body)
    return shot


def _cut(random: Random, body: bytes) -> list[bytes]:
    places = sorted(random.randrange(len(body) + 1) for _ in range(random.randrange(1, 6)))
    return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


def _set(shot: Shot, name: str, value: bytes) -> None:
    shot.headers = [(key, old) for key, old in shot.headers if key != name.encode()] + [(name.encode(), value)]


def _other_token(random: Random, shot: Shot, tokens: list[str]) -> None:
    _set(shot, "authorization", b"Bearer " + random.choice(tokens).encode())


def _broken_token(random: Random, shot: Shot, tokens: list[str]) -> None:
    _set(shot, "authorization", b"Bearer " + scarred(random, random.choice(tokens).encode()))


def _header_scarred(random: Random, shot: Shot, _tokens: list[str]) -> None:
    at = random.randrange(len(shot.headers))
    name, value = shot.headers[at]
    shot.headers[at] = (name, scarred(random, value))


def _header_moved(random: Random, shot: Shot, _tokens: list[str]) -> None:
    at = random.randrange(len(shot.headers))
    name, value = shot.headers[at]
    match random.randrange(5):
        case 0:
            del shot.headers[at]
            shot.headers = shot.headers or [(b"host", HOST.encode())]
        case 1:
            shot.headers.append((name, value))
        case 2:
            shot.headers.append((name, scarred(random, value)))
        case 3:
            shot.headers[at] = (name.upper(), value)
        case _:
            shot.headers[at] = (random.choice(NAMES).encode(), value)


def _header_added(random: Random, shot: Shot, _tokens: list[str]) -> None:
    value = random.choice([MODERN, "2025-11-25", "tools/list", "whoami", "=?base64?d2hvYW1p?=", "0", "7", "x" * 9000])
    shot.headers.append((random.choice(NAMES).encode(), value.encode()))


def _elsewhere(random: Random, shot: Shot, _tokens: list[str]) -> None:
    match random.randrange(5):
        case 0:
            _set(shot, "host", random.choice(HOSTS).encode())
        case 1:
            shot.path = random.choice(PATHS)
        case 2:
            _set(shot, "origin", random.choice(ORIGINS).encode())
        case 3:
            shot.query = random.choice(QUERIES)
        case _:
            shot.method = random.choice(["GET", "DELETE", "POST", "PUT", "OPTIONS", "HEAD", "post", "TRACE", ""])


def _body_scarred(random: Random, shot: Shot, _tokens: list[str]) -> None:
    shot.body = scarred(random, shot.body)


def _body_bent(random: Random, shot: Shot, _tokens: list[str]) -> None:
    """Still JSON, but another."""
    try:
        message = json.loads(shot.body)
    except (ValueError, RecursionError):
        return
    match random.randrange(6):
        case 0:
            message = [message] * random.randrange(3)
        case 1:
            shot.body = shot.body.replace(b'"method"', b'"method": "ping", "method"')
            return
        case 2:
            shot.body = b'{"a":' * random.choice((70, 5000)) + shot.body
            return
        case _:
            message = _bent(random, message)
    shot.body = json.dumps(message).encode(random.choice(["utf-8"] * 9 + ["utf-16"]))


def _bent(random: Random, value: Any) -> Any:
    if not isinstance(value, dict) or not value or random.random() < 0.25:
        return random.choice(ODD_VALUES)
    key = random.choice(list(value))
    match random.randrange(4):
        case 0:
            return {name: kept for name, kept in value.items() if name != key}
        case 1:
            return {**value, random.choice(["name", "uri", "task", "_meta", "result", "id", "extra"]): "whoami"}
        case _:
            return {**value, key: _bent(random, value[key])}


def _cut_short(random: Random, shot: Shot, _tokens: list[str]) -> None:
    shot.complete = False
    shot.http_version = random.choice(["1.0", "1.1", "2"])


Mishap = Callable[[Random, Shot, list[str]], None]
MISHAPS: list[Mishap] = [
    *(_other_token, _broken_token, _header_scarred, _header_moved, _header_added),
    *(_elsewhere, _body_scarred, _body_scarred, _body_bent, _body_bent, _cut_short),
]


def scarred(random: Random, data: bytes) -> bytes:
    """`data` with a byte changed, lost or doubled, something put in, a part moved, or its end cut off."""
    at, to = random.randrange(len(data) + 1), random.randrange(len(data) + 1)
    match random.randrange(6):
        case 0:
            return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[at + 1 :]
        case 2:
            return data[:at] + random.choice(ODD_BYTES) + data[at:]
        case 3:
            return data[:at]
        case 4:
            return data[:at] + data[min(at, to) : max(at, to)] + data[at:]
        case _:
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :] if at < len(data) else data


def may_pass(shot: Shot, scopes_of: Mapping[str, set[str]]) -> bool:
    """Whether `shot` might be let through: what must be true of whatever reaches the app."""
    headers: dict[str, list[str]] = {}
    for name, value in shot.headers:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    one = {name: values[0] for name, values in headers.items() if len(values) == 1}
    scheme, _, token = one.get("authorization", "").partition(" ")
    scopes = scopes_of.get(token.lstrip(" "))
    return (
        scheme.lower() == "bearer"
        and scopes is not None
        and one.get("host", "").lower() == HOST
        and ("origin" not in headers or one.get("origin", "").lower() == f"http://{HOST}")
        and shot.path in {"/mcp", "/mcp/"}
        and b"access_token" not in shot.query.lower()
        and (shot.method in {"GET", "DELETE"} or (shot.method == "POST" and _post_may_pass(shot, one, scopes)))
    )


def _post_may_pass(shot: Shot, headers: Mapping[str, str], scopes: set[str]) -> bool:
    try:
        message = json.loads("".join(shot.body.decode("utf-8")), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        return False
    return (
        shot.complete
        and headers.get("content-type", "").lower().startswith("application/json")
        and isinstance(message, dict)
        and message_may_pass(message, headers, scopes)
    )


def message_may_pass(message: Mapping[str, Any], headers: Mapping[str, str], scopes: set[str]) -> bool:
    """Whether the policy allows `message` to a caller with `scopes`, and the headers say the same as it."""
    method, params = str(message.get("method")), message.get("params") or {}
    name = params.get("uri" if method == "resources/read" else "name")
    if method in RULES:
        needed = RULES[method].get(name) if isinstance(name, str) else None
        allowed = needed is not None and needed <= scopes
        allowed = allowed and (method != "tools/call" or _arguments_fit(str(name), params.get("arguments")))
    else:
        allowed, name = method in FREE, None
    return message.get("jsonrpc") == "2.0" and allowed and _headers_agree(headers, method, name, params)


def _arguments_fit(tool: str, arguments: Any) -> bool:
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, dict) or tool == "whoami":
        return bool(arguments == {})
    customer = arguments.get("customer_id")
    return (
        arguments.keys() <= {"customer_id", "note"}
        and isinstance(customer, str)
        and re.fullmatch("[A-Z0-9]{5,10}", customer) is not None
        and isinstance(arguments.get("note", ""), str)
    )


def _headers_agree(headers: Mapping[str, str], method: Any, name: Any, params: Mapping[str, Any]) -> bool:
    said_method, said_name = headers.get("mcp-method", method), headers.get("mcp-name", name)
    meta = params.get("_meta")
    version = meta.get("io.modelcontextprotocol/protocolVersion") if isinstance(meta, dict) else None
    old = headers.get("mcp-protocol-version") in {None, "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}
    new_enough = old or (headers["mcp-protocol-version"] == MODERN and _mirrored(headers, method, name, version))
    return said_method == method and (said_name == name or _decoded(said_name) == name) and new_enough


def _mirrored(headers: Mapping[str, str], method: Any, name: Any, version: Any) -> bool:
    notification = isinstance(method, str) and method.startswith("notifications/")
    said = "mcp-method" in headers and (name is None or "mcp-name" in headers) and version == MODERN
    return notification or said


def _decoded(value: Any) -> Any:
    found = re.fullmatch(r"=\?base64\?(.*)\?=", value) if isinstance(value, str) else None
    try:
        return b64decode(found.group(1)).decode() if found else value
    except ValueError:
        return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a member comes twice")
    return dict(pairs)
