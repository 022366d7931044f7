"""What the fuzzer puts in the place of what should be there."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

CREDENTIALS = ('{"id": "eA", "rawId": "eA", "type": "public-key", "response": {}}', "{}", "[1]", "x")
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW")
JUNK: tuple[str, ...] = (
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nX-Injected: yes",
    "%",
    "%zz",
    "é☃\u202e",
    "'\"><script>alert(1)</script>",
    "-1",
    "../x",
)
JUNK += ("{{7*7}}", "1e309", "null", "[]", "{}", "true", "a b", "x" * 300, "x" * 9000, "\u2028", "javascript:alert(1)")
JUNK += (
    "http://[",
    "https://[::1",
    "https://h:port/",
    "http://127.0.0.1:99999/",
    "https://é.example/",
    "https://a.b/../x",
)
RAW = (b"%ff", b"%", b"%u0041", b"\xff", b"%ed%a0%80", b"%00", b"&&==&", b";", b"a" * 20_000, b"=" * 60, b"&x" * 70)
VALUES: Sequence[Any] = (
    None,
    True,
    0,
    -1,
    2**70,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "x",
    "\ud800",
    "\0",
    [],
    {},
    [[]],
    {"a": {}},
    ["x", 1],
)
VALUES = (*VALUES, {"\ud800": "\udfff"}, {"a\0": "\0"}, ["\ud800\0"])
HEADERS: tuple[bytes, ...] = (
    b"host",
    b"origin",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"transfer-encoding",
    b"cookie",
)
HEADERS += (b"authorization", b"x-forwarded-for", b"forwarded", b"accept", b"accept-encoding", b"expect", b"x" * 300)
HEADER_VALUES: tuple[bytes, ...] = (
    b"",
    b" ",
    b"\xff\xfe",
    b"a" * 9000,
    b"-1",
    b"Bearer x",
    b"Basic",
    b"Basic !!!",
    b"for=[::",
)
HEADER_VALUES += (b"Basic " + b64encode(b"%ff:%zz"), b"Basic " + b64encode(b"\xff:\0"))
HEADER_VALUES += (
    b"__Host-garrison=" + b"x" * 43,
    b"__Host-garrison=\xff; =; ;;",
    b"multipart/form-data",
    b"text/plain",
)
HEADER_VALUES += (b"application/json", b"application/x-www-form-urlencoded; charset=utf-16")
