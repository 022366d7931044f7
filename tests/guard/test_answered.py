"""An answer is charged by what a model reads of it: a result that is said twice, once."""

import json
from typing import Any

import pytest

from garrison.guard.answered import tokens
from garrison.limits.tokens import estimate_tokens

WORDS = "many words about a customer " * 40


def answer(**result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


def text(said: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": said}]


TOLD = {"notes": WORDS}
TWICE = answer(content=text(json.dumps(TOLD)), structuredContent=TOLD)
ONCE = answer(content=text(json.dumps(TOLD)))


@pytest.mark.parametrize(
    "body", [TWICE, b"event: message\r\ndata: " + TWICE + b"\r\n\r\n", b"id: 7\ndata: " + TWICE + b"\n\n"]
)
def test_what_is_said_twice_is_charged_once(body: bytes) -> None:
    assert estimate_tokens(ONCE) <= tokens(body, estimate_tokens) <= estimate_tokens(ONCE) * 1.1


@pytest.mark.parametrize(
    ("content", "structured"),
    [(text("done"), TOLD), (text(WORDS), {"ok": True}), ([], TOLD), (text(WORDS), None)],
    ids=["structured content", "content", "nothing else", "null"],
)
def test_the_longer_of_both_is_charged(content: Any, structured: Any) -> None:
    charged = tokens(answer(content=content, structuredContent=structured), estimate_tokens)
    assert charged >= estimate_tokens(WORDS)


@pytest.mark.parametrize(
    "body",
    [
        ONCE,
        answer(structuredContent=TOLD),
        answer(content=text('"structuredContent"')),
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\\"structuredContent\\""}}',
        TWICE + TWICE,  # two messages: which is longer can't be said of both
        TWICE[:-3],
        TWICE[3:],
        b'"structuredContent"',
        b'} "structuredContent" {',
        b'{"result": ["structuredContent"], "structuredContent": 1}',
        b'{"structuredContent":' + b"[" * 100_000 + b"}",
        b"data: " + TWICE + b"\n\ndata: " + TWICE + b"\n\n",
    ],
    ids=lambda body: body[:40].decode(),
)
def test_whatever_else_comes_is_charged_as_it_stands(body: bytes) -> None:
    assert tokens(body, estimate_tokens) == estimate_tokens(body)
