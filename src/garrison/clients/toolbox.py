"""The tools of one session as a model may use them: what all adapters share.

Whatever a model asks for is answered in words, never by an exception: it is the model that can do better next time. It
reads what a tool or the server said, but nothing of our own insides. A tool that wasn't offered is never called.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from mcp.types import CallToolResult, TextContent, Tool

from garrison.base.errors import GarrisonError
from garrison.clients.answer import Call
from garrison.clients.errors import CallRefused, RateLimited, ScopeRefused
from garrison.clients.session import Session

OnCall = Callable[[Call], None]
MAX_TEXT = 100_000
"""Characters of one result that a model reads; the rest is cut, and the cut is marked."""
MAX_AT_ONCE = 8
"""Calls of one turn that run at the same time."""
NO_KEY = "unset"
"""Sent where no API key was given (a local model needs none); without it the libraries would search the environment."""
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME = 64
_FOR_THE_MODEL = (CallRefused, ScopeRefused, RateLimited)
"""Errors whose sentence is the server's public word or says what is missing; others speak of our own insides."""


@dataclass(frozen=True)
class Offered:
    """A tool under the name that the model sees: providers allow only letters, digits, `_` and `-`, 64 of them."""

    name: str
    tool: Tool

    @property
    def description(self) -> str:
        return self.tool.description or ""

    @property
    def schema(self) -> dict[str, Any]:
        return dict(self.tool.input_schema)


class Toolbox:
    """Offers a session's tools to a model, runs what it asks for, and keeps a record."""

    def __init__(self, session: Session, tools: Iterable[Tool], on_call: OnCall | None = None) -> None:
        self._session = session
        self._on_call = on_call
        self.offered = tuple(_offer(tools))
        self._by_name = {offered.name: offered.tool for offered in self.offered}
        self._calls: list[Call] = []

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(self._calls)

    async def use(self, name: str, arguments: str | Mapping[str, Any] | None) -> Call:
        """Call one tool, with arguments as JSON text or as an object."""
        call = await self._call(name, arguments)
        self._calls.append(call)
        if self._on_call:
            self._on_call(call)
        return call

    async def use_all(self, wanted: Sequence[tuple[str, str | Mapping[str, Any] | None]]) -> list[Call]:
        """Call several tools side by side; the results are in the order of `wanted`."""
        results: list[Call | None] = [None] * len(wanted)
        room = anyio.CapacityLimiter(MAX_AT_ONCE)

        async def one(index: int, name: str, arguments: str | Mapping[str, Any] | None) -> None:
            async with room:
                results[index] = await self.use(name, arguments)

        async with anyio.create_task_group() as tasks:
            for index, (name, arguments) in enumerate(wanted):
                tasks.start_soon(one, index, name, arguments)
        return [call for call in results if call]

    async def _call(self, name: str, arguments: str | Mapping[str, Any] | None) -> Call:
        tool = self._by_name.get(name)
        if tool is None:
            known = ", ".join(self._by_name)
            return Call(
                name, {}, f"There is no tool named {name[:_MAX_NAME]!r}. The tools are: {known}.", is_error=True
            )
        parsed = _parse(arguments)
        if parsed is None:
            return Call(tool.name, {}, "The arguments must be one JSON object.", is_error=True)
        try:
            result = await self._session.call(tool.name, parsed)
        except GarrisonError as error:
            said = error.message if isinstance(error, _FOR_THE_MODEL) else "the server could not be asked"
            return Call(tool.name, parsed, f"The tool was not run: {said}.", is_error=True)
        return Call(tool.name, parsed, text_of(result), result.structured_content, is_error=bool(result.is_error))


def _offer(tools: Iterable[Tool]) -> Iterable[Offered]:
    """Each tool under a name of its own; one that would take another's name gets a number."""
    taken: set[str] = set()
    for tool in tools:
        base = _NOT_ALLOWED.sub("_", tool.name)[:_MAX_NAME] or "tool"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base[: _MAX_NAME - 4]}_{number}"
        taken.add(name)
        yield Offered(name, tool)


def _parse(arguments: str | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The arguments as an object; None if they are none. No arguments at all are an empty object."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return None
    if arguments is None:
        return {}
    return dict(arguments) if isinstance(arguments, Mapping) else None


def text_of(result: CallToolResult) -> str:
    """The result's text for a model: its text blocks, or else its structured content; other blocks are named only."""
    blocks = [block.text if isinstance(block, TextContent) else f"[{block.type}]" for block in result.content]
    if not blocks and result.structured_content is not None:
        blocks = [json.dumps(result.structured_content)]
    text = "\n".join(blocks)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} [cut: {len(text)} characters]"
