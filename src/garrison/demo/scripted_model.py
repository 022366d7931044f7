"""A scripted stand-in for a language model, for demonstrations and tests without a key: no model, a few rules.

It speaks enough of OpenAI's chat completions and responses and Anthropic's messages for all adapters, tool calls in
parallel and streams (scripted_stream.py) included, and DSPy's ReAct (scripted_react.py). What it says is decided in
scripted_rules.py. Any bearer token or x-api-key will do, but there must be one. A model that is called `scripted-401`,
`-429` or `-500` answers with that error.
"""

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from garrison.demo.scripted_react import react_answer
from garrison.demo.scripted_rules import Wish, conclusion, no_tool, wishes
from garrison.demo.scripted_stream import Event, chat_events, encode, message_events, response_events

MODEL = "scripted"
Document = Mapping[str, Any]
Turn = tuple[str, list[Wish]]
"""What is said, and the calls that are asked for: one of the two is empty."""


def create_app() -> Starlette:
    """The model, for any ASGI server. Its base URL is the server's address, with `/v1` for OpenAI's clients."""
    return Starlette(
        routes=[
            Route("/v1/chat/completions", _endpoint(chat_completion, chat_events, _openai_error), methods=["POST"]),
            Route("/v1/responses", _endpoint(response, response_events, _openai_error), methods=["POST"]),
            Route("/v1/messages", _endpoint(message, message_events, _anthropic_error), methods=["POST"]),
        ]
    )


def _endpoint(
    answer: Callable[[Document], Document],
    events: Callable[[Document], Iterator[Event]],
    error: Callable[[str, str], Document],
) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not (request.headers.get("x-api-key") or (scheme.lower() == "bearer" and token)):
            return JSONResponse(error("authentication_error", "an API key is required"), 401)
        try:
            body = await request.json()
            if asked := _FAILING.search(str(body.get("model", ""))):
                return JSONResponse(error(*_ERRORS[asked.group()]), int(asked.group()), _SOON)
            said = answer(body)
            if body.get("stream"):
                return StreamingResponse(encode(events(said)), media_type="text/event-stream")
            return JSONResponse(said)
        except (ValueError, KeyError, TypeError, AttributeError):
            return JSONResponse(error("invalid_request_error", "the request is malformed"), 400)

    return respond


_ERRORS = {
    "401": ("authentication_error", "the API key is not valid"),
    "429": ("rate_limit_error", "too many requests"),
    "500": ("api_error", "the model broke"),
}
_SOON = {"retry-after-ms": "1"}
"""The providers' own word for when to try again, as their libraries do by themselves."""
_FAILING = re.compile(f"(?<=-)({'|'.join(_ERRORS)})$")


def _openai_error(kind: str, text: str) -> Document:
    return {"error": {"message": text, "type": kind, "param": None, "code": None}}


def _anthropic_error(kind: str, text: str) -> Document:
    return {"type": "error", "error": {"type": kind, "message": text}}


def _next_turn(questions: Sequence[str], offered: Sequence[str], results: Sequence[tuple[str, str]]) -> Turn:
    """Ask for everything at once, then tell what came of it; of `questions` the last one is to be answered."""
    if results:
        return conclusion(results), []
    wanted = wishes(questions[-1], offered, questions[:-1])
    return ("", wanted) if wanted else (no_tool(), [])


def chat_completion(body: Document) -> Document:
    """The answer to a request of OpenAI's chat completions API."""
    said, wanted = _react_turn(body["messages"]) or _chat_turn(body)
    calls = [
        {
            "id": f"call_{secrets.token_hex(8)}",
            "type": "function",
            "function": {"name": wish.tool, "arguments": json.dumps(wish.arguments)},
        }
        for wish in wanted
    ]
    answer = {"role": "assistant", "content": said or None, **({"tool_calls": calls} if calls else {})}
    return {
        "id": f"chatcmpl-{secrets.token_hex(8)}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", MODEL),
        "choices": [{"index": 0, "message": answer, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _react_turn(messages: Sequence[Document]) -> Turn | None:
    """DSPy asks in plain text: a system prompt that describes its protocol, and the user's fields."""
    system = next((_text(each["content"]) for each in messages if each["role"] == "system"), "")
    questions = _questions(messages)
    said = react_answer(system, questions[-1], questions[:-1])
    return None if said is None else (said, [])


def _chat_turn(body: Document) -> Turn:
    messages = body["messages"]
    asked_at = max(index for index, each in enumerate(messages) if each["role"] == "user")
    since = messages[asked_at + 1 :]
    names = {call["id"]: call["function"]["name"] for each in since for call in each.get("tool_calls") or []}
    results = [
        (names.get(each["tool_call_id"], "the tool"), _text(each["content"]))
        for each in since
        if each["role"] == "tool"
    ]
    offered = [tool["function"]["name"] for tool in body.get("tools") or []]
    return _next_turn(_questions(messages), offered, results)


def response(body: Document) -> Document:
    """The answer to a request of OpenAI's responses API."""
    conversation = body["input"]
    asked_at = max(index for index, each in enumerate(conversation) if each.get("role") == "user")
    since = conversation[asked_at + 1 :]
    names = {each["call_id"]: each["name"] for each in since if each.get("type") == "function_call"}
    results = [
        (names.get(each["call_id"], "the tool"), str(each["output"]))
        for each in since
        if each.get("type") == "function_call_output"
    ]
    offered = [tool["name"] for tool in body.get("tools") or []]
    said, wanted = _next_turn(_questions(conversation), offered, results)
    output: list[Document] = [
        {
            "type": "function_call",
            "id": f"fc_{secrets.token_hex(8)}",
            "call_id": f"call_{secrets.token_hex(8)}",
            "name": wish.tool,
            "arguments": json.dumps(wish.arguments),
            "status": "completed",
        }
        for wish in wanted
    ]
    if said:
        text = {"type": "output_text", "text": said, "annotations": []}
        head = {"type": "message", "id": f"msg_{secrets.token_hex(8)}", "role": "assistant", "status": "completed"}
        output.append({**head, "content": [text]})
    return {
        "id": f"resp_{secrets.token_hex(8)}",
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "model": body.get("model", MODEL),
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2,
        },
    }


def message(body: Document) -> Document:
    """The answer to a request of Anthropic's messages API."""
    messages = body["messages"]
    asked_at = max(index for index, each in enumerate(messages) if each["role"] == "user" and _text(each["content"]))
    blocks = [
        block for each in messages[asked_at + 1 :] if isinstance(each["content"], list) for block in each["content"]
    ]
    names = {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
    results = [
        (names.get(block["tool_use_id"], "the tool"), _text(block.get("content", "")))
        for block in blocks
        if block["type"] == "tool_result"
    ]
    offered = [tool["name"] for tool in body.get("tools") or []]
    said, wanted = _next_turn(_questions(messages), offered, results)
    content: list[Document] = [{"type": "text", "text": said}] if said else []
    content += [
        {"type": "tool_use", "id": f"toolu_{secrets.token_hex(8)}", "name": wish.tool, "input": dict(wish.arguments)}
        for wish in wanted
    ]
    return {
        "id": f"msg_{secrets.token_hex(8)}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", MODEL),
        "content": content,
        "stop_reason": "tool_use" if wanted else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _questions(messages: Sequence[Document]) -> list[str]:
    """What the user has said, without the messages that only carry results."""
    said = (_text(each["content"]) for each in messages if each.get("role") == "user")
    return [text for text in said if text]


def _text(content: Any) -> str:
    """The text of a message's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content or [] if block.get("type") == "text")
