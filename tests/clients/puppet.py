"""A model server that says what a test tells it to, however wrong, and remembers what it was told."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Calls = Sequence[tuple[str, str]]
"""Tool names and arguments as JSON text, or as what should have been JSON."""


@dataclass
class Puppet:
    """`turn` gives the calls of each turn by its number; where it gives none, the model says "done"."""

    turn: Callable[[int], Calls]
    status: int = 200
    response_status: str = "completed"
    bodies: list[Any] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._openai, methods=["POST"]),
                Route("/v1/messages", self._anthropic, methods=["POST"]),
                Route("/v1/responses", self._responses, methods=["POST"]),
            ]
        )

    async def _asked(self, request: Request) -> Calls:
        self.bodies.append(await request.json())
        self.keys.add(request.headers.get("x-api-key") or request.headers["authorization"].removeprefix("Bearer "))
        return self.turn(len(self.bodies) - 1)

    async def _openai(self, request: Request) -> Response:
        calls = await self._asked(request)
        if self.status != 200:
            return JSONResponse({"error": {"message": "Incorrect API key provided: sk-secret"}}, self.status)
        react = "next_tool_name" in json.dumps(self.bodies[-1])
        answer: dict[str, Any] = {"role": "assistant", "content": _react(calls) if react else "done"}
        if "reasoning" in json.dumps(self.bodies[-1]):
            answer["content"] = "[[ ## reasoning ## ]]\nso\n\n[[ ## answer ## ]]\ndone\n\n[[ ## completed ## ]]"
        if calls and not react:
            answer["tool_calls"] = [
                {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
                for number, (name, arguments) in enumerate(calls)
            ]
        choice = {"index": 0, "message": answer, "finish_reason": "tool_calls" if calls else "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "x", "object": "chat.completion", "created": 0, "model": "puppet"}
        return JSONResponse({**head, "choices": [choice], "usage": usage})

    async def _responses(self, request: Request) -> Response:
        calls = await self._asked(request)
        if self.status != 200:
            return JSONResponse({"error": {"message": "Incorrect API key provided: sk-secret"}}, self.status)
        said = {"type": "output_text", "text": "done", "annotations": []}
        output: list[Any] = [
            {"type": "function_call", "id": f"fc_{i}", "call_id": f"call_{i}", "name": name, "arguments": arguments}
            for i, (name, arguments) in enumerate(calls)
        ] or [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [said]}]
        head = {"id": "x", "object": "response", "created_at": 0, "model": "puppet", "status": self.response_status}
        rest = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        return JSONResponse({**head, **rest, "output": output})

    async def _anthropic(self, request: Request) -> Response:
        calls = await self._asked(request)
        if self.status != 200:
            error = {"type": "authentication_error", "message": "invalid x-api-key: sk-secret"}
            return JSONResponse({"type": "error", "error": error}, self.status)
        content: list[Any] = [
            {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": json.loads(arguments)}
            for number, (name, arguments) in enumerate(calls)
        ]
        head = {"id": "x", "type": "message", "role": "assistant", "model": "puppet", "stop_sequence": None}
        end = {"stop_reason": "tool_use" if calls else "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
        return JSONResponse({**head, **end, "content": content or [{"type": "text", "text": "done"}]})


def _react(calls: Calls) -> str:
    name, arguments = calls[0] if calls else ("finish", "{}")
    fields = {"next_thought": "well", "next_tool_name": name, "next_tool_args": arguments, "completed": ""}
    return "\n\n".join(f"[[ ## {field} ## ]]\n{value}" for field, value in fields.items())
