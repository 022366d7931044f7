"""The scripted model's answers as streams of server-sent events, in each provider's own shape.

Text comes word by word, a call's arguments in two halves: enough to tell a client that puts pieces together from one
that doesn't.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]
Event = tuple[str, Any]
"""A name, empty where the provider names none, and the data."""


def encode(events: Iterable[Event]) -> Iterator[bytes]:
    """Server-sent events as bytes; data that is text already goes as it is."""
    for name, data in events:
        head = f"event: {name}\n" if name else ""
        yield f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def chat_events(completion: Document) -> Iterator[Event]:
    """OpenAI's chat.completion.chunk objects."""
    head = {**{name: completion[name] for name in ("id", "created", "model")}, "object": "chat.completion.chunk"}
    (choice,) = completion["choices"]
    message = choice["message"]

    def chunk(delta: Document, finish: str | None = None) -> Event:
        return "", {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    for word in _words(message["content"] or ""):
        yield chunk({"content": word})
    for index, call in enumerate(message.get("tool_calls", ())):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield chunk({"tool_calls": [{**call, "index": index, "function": function}]})
        for half in _halves(call["function"]["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": half}}]})
    yield chunk({}, choice["finish_reason"])
    yield "", {**head, "choices": [], "usage": completion["usage"]}
    yield "", "[DONE]"


def message_events(message: Document) -> Iterator[Event]:
    """Anthropic's message events."""

    def event(kind: str, **data: Any) -> Event:
        return kind, {"type": kind, **data}

    yield event("message_start", message={**message, "content": [], "stop_reason": None})
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            yield event("content_block_start", index=index, content_block={**block, "text": ""})
            deltas = [{"type": "text_delta", "text": word} for word in _words(block["text"])]
        else:
            yield event("content_block_start", index=index, content_block={**block, "input": {}})
            halves = _halves(json.dumps(block["input"]))
            deltas = [{"type": "input_json_delta", "partial_json": half} for half in halves]
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=stop, usage={"output_tokens": message["usage"]["output_tokens"]})
    yield event("message_stop")


def response_events(response: Document) -> Iterator[Event]:
    """OpenAI's response events."""
    number = iter(range(1_000_000))

    def event(kind: str, **data: Any) -> Event:
        return kind, {"type": kind, "sequence_number": next(number), **data}

    yield event("response.created", response={**response, "status": "in_progress", "output": []})
    for index, item in enumerate(response["output"]):
        yield event("response.output_item.added", output_index=index, item=item)
        for content in item.get("content", ()):
            where = {"item_id": item["id"], "output_index": index, "content_index": 0}
            for word in _words(content["text"]):
                yield event("response.output_text.delta", **where, delta=word, logprobs=[])
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response=response)
