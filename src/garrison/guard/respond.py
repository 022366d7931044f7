"""The guard's own answers: every refusal is rendered here, as a JSON-RPC error (or result) with an HTTP status."""

import json
from typing import Any

from starlette.types import Send

from garrison.guard.refusal import BodyTimeout, InputRejected, Refusal, TooLarge
from garrison.guard.types import CORRELATION_ID, Answer, Call, Message


def answer_to(refusal: Refusal, call: Call) -> Answer:
    """`refusal` as an HTTP response to `call`; the JSON-RPC id is null where no message was read."""
    message = call.message
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message.id if message else None}
    if isinstance(refusal, InputRejected) and message:
        reply["result"] = _tool_error(refusal.message, message)
    else:
        reply["error"] = {"code": refusal.code, "message": refusal.message}
        if refusal.data is not None:
            reply["error"]["data"] = refusal.data
    headers = {"content-type": "application/json", "cache-control": "no-store", **refusal.headers}
    if isinstance(refusal, TooLarge | BodyTimeout) and call.request.http_version.startswith("1"):
        headers["connection"] = "close"  # the rest of the body would be taken for the next request
    return Answer(refusal.status, headers, json.dumps(reply).encode())


async def send_answer(send: Send, answer: Answer, correlation_id: str) -> None:
    headers = {
        **answer.headers,
        "content-length": str(len(answer.body)),
        "x-content-type-options": "nosniff",
        CORRELATION_ID: correlation_id,
    }
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})


def _tool_error(text: str, message: Message) -> dict[str, Any]:
    """A CallToolResult that tells the model what was wrong (MCP, tools: input validation errors)."""
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    if message.modern:
        result["resultType"] = "complete"
    return result
