"""The tools of one session, or of several, as a model may use them: what all adapters share.

Whatever a model asks for is answered in words, never by an exception: it is the model that can do better next time. It
reads what a tool or the server said, but nothing of our own insides. A tool that wasn't offered is never called.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import anyio
from mcp.types import CallToolResult, TextContent, Tool

from garrison.base.errors import GarrisonError
from garrison.clients.answer import Answer, Call, Usage
from garrison.clients.errors import CallRefused, RateLimited, ScopeRefused
from garrison.clients.session import Session

OnCall = Callable[[Call], None]
OnText = Callable[[str], None]
"""Told of each piece of the model's text as it comes."""
Approve = Callable[[Call], Awaitable[bool]]
"""Asked whether a call may be made; its text is empty yet."""
Sessions = Session | Sequence[Session]
MAX_TEXT = 100_000
"""Characters of one result that a model reads; the rest is cut, and the cut is marked."""
MAX_AT_ONCE = 8
"""Calls of one turn that run at the same time."""
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME = 64
_FOR_THE_MODEL = (CallRefused, ScopeRefused, RateLimited)
"""Errors whose sentence is the server's public word or says what is missing; others speak of our own insides."""


@dataclass(frozen=True)
class Offered:
    """A tool under the name that the model sees: providers allow only letters, digits, `_` and `-`, 64 of them."""

    name: str
    tool: Tool
    session: Session | None = None
    server: str = ""

    @property
    def description(self) -> str:
        return self.tool.description or ""

    @property
    def schema(self) -> dict[str, Any]:
        return dict(self.tool.input_schema)

    def function(self) -> dict[str, Any]:
        """The tool in OpenAI's words, which others speak too."""
        return {"name": self.name, "description": self.description, "parameters": self.schema}


async def open_toolbox(sessions: Sessions, on_call: OnCall | None = None, approve: Approve | None = None) -> "Toolbox":
    """The tools of one session, or of several."""
    several = [sessions] if isinstance(sessions, Session) else list(sessions)
    named = zip(several, _apart(session.name for session in several), strict=True)
    tools = [(session, server, tool) for session, server in named for tool in await session.tools()]
    return Toolbox(offer(tools), on_call, approve)


class Toolbox:
    """Offers tools to a model, runs what it asks for, and keeps a record.

    Args:
        offered: the tools, each under a name of its own.
        on_call: told of each call when it is done.
        approve: asked before each call, one at a time; a call that it doesn't approve is not made.
    """

    def __init__(
        self, offered: Iterable[Offered], on_call: OnCall | None = None, approve: Approve | None = None
    ) -> None:
        self._on_call = on_call
        self._approve = approve
        self._asking = anyio.Lock()
        self.offered = tuple(offered)
        self._by_name = {each.name: each for each in self.offered}
        self._calls: list[Call] = []
        self.usage = Usage()

    def answer(self, text: str) -> Answer:
        return Answer(text, self.calls, self.usage)

    def count(self, input_tokens: int | None, output_tokens: int | None, cost: float | None = None) -> None:
        """Add what one turn of the model cost."""
        self.usage = self.usage.plus(input_tokens, output_tokens, cost)

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
        offered = self._by_name.get(name)
        if offered is None:
            known = ", ".join(self._by_name)
            return Call(
                name, {}, f"There is no tool named {name[:_MAX_NAME]!r}. The tools are: {known}.", is_error=True
            )
        parsed = _parse(arguments)
        if parsed is None:
            return _not_made(offered, {}, "The arguments must be one JSON object.")
        if not await self._may(offered, parsed):
            return _not_made(offered, parsed, "The user did not allow this call.")
        return await _made(offered, parsed)

    async def _may(self, offered: Offered, arguments: Mapping[str, Any]) -> bool:
        """Whether the call is approved; only a plain True is a yes."""
        if self._approve is None:
            return True
        async with self._asking:  # a person is asked one thing at a time
            return await self._approve(Call(offered.tool.name, arguments, "", server=offered.server)) is True


def _not_made(offered: Offered, arguments: Mapping[str, Any], why: str) -> Call:
    return Call(offered.tool.name, arguments, why, is_error=True, server=offered.server)


async def _made(offered: Offered, arguments: Mapping[str, Any]) -> Call:
    name, session = offered.tool.name, cast("Session", offered.session)
    try:
        result = await session.call(name, arguments)
    except GarrisonError as error:
        said = error.message if isinstance(error, _FOR_THE_MODEL) else "the server could not be asked"
        return _not_made(offered, arguments, f"The tool was not run: {said}.")
    failed = bool(result.is_error)
    return Call(name, arguments, text_of(result), result.structured_content, is_error=failed, server=offered.server)


def offer(tools: Sequence[tuple[Session | None, str, Tool]]) -> Iterable[Offered]:
    """Each tool under a name of its own.

    Where two servers have a tool of the same name, both are named by their server: neither stands in for the other. A
    name that is still taken gets a number.
    """
    servers: dict[str, set[str]] = {}
    for _, server, tool in tools:
        servers.setdefault(_allowed(tool.name), set()).add(server)
    bases = [
        _allowed(f"{server}_{tool.name}") if len(servers[_allowed(tool.name)]) > 1 else _allowed(tool.name)
        for _, server, tool in tools
    ]
    for (session, server, tool), name in zip(tools, _apart(bases), strict=True):
        yield Offered(name, tool, session, server)


def _allowed(name: str) -> str:
    return _NOT_ALLOWED.sub("_", name)[:_MAX_NAME] or "tool"


def _apart(bases: Iterable[str]) -> Iterable[str]:
    """`bases`, and a number behind each that was there before."""
    taken: set[str] = set()
    for base in bases:
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base[: _MAX_NAME - 4]}_{number}"
        taken.add(name)
        yield name


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
