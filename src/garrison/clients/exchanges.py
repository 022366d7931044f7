"""Calls whose server asks questions on the way, for a client that takes questions in results alone.

A server of the older era sends its questions (sampling, elicitation, roots) as requests of its own while it works; a
client of MCP 2026-07-28 takes none. So the call is held here: its first answer is `input_required` with the questions,
and the client's next request, with the answers and the state that it was given, goes on with the held call.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.shared.dispatcher import ProgressFnT
from mcp.types import INVALID_PARAMS, INVALID_REQUEST

Call = Callable[[ProgressFnT], Awaitable[dict[str, Any]]]
MAX_HELD = 64
"""Calls that wait for answers at once. Each ends by itself when the remote request's time is up."""


@dataclass
class _Question:
    method: str
    params: dict[str, Any]
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: dict[str, Any] | None = None
    told: bool = False


@dataclass
class _Exchange:
    """One held call. `about` is the method and name that it was begun with."""

    about: tuple[str, Any]
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    questions: dict[str, _Question] = field(default_factory=dict)
    news: anyio.Event = field(default_factory=anyio.Event)
    progress: ProgressFnT | None = None
    result: dict[str, Any] | None = None
    error: Exception | None = None

    def tell(self) -> None:
        self.news.set()

    @property
    def ended(self) -> bool:
        return self.result is not None or self.error is not None

    def untold(self) -> dict[str, _Question]:
        return {key: question for key, question in self.questions.items() if not question.told}


class Exchanges:
    """The held calls of one client."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._held: dict[str, _Exchange] = {}

    async def begin(self, about: tuple[str, Any], call: Call, progress: ProgressFnT | None) -> dict[str, Any]:
        """The result of `call`, or the first questions of its server. Raises what `call` raises."""
        if len(self._held) >= MAX_HELD:
            raise MCPError(INVALID_REQUEST, "too many calls wait for answers")
        exchange = _Exchange(about)
        self._held[exchange.state] = exchange
        self._tasks.start_soon(self._carry_out, exchange, call)
        return await self._turn(exchange, progress)

    async def go_on(
        self, about: tuple[str, Any], state: Any, answers: Any, progress: ProgressFnT | None
    ) -> dict[str, Any]:
        """Hand `answers` to the call that was held under `state`. Raises `MCPError` if none is."""
        exchange = self._held.get(state) if isinstance(state, str) else None
        if exchange is None or exchange.about != about:
            raise MCPError(INVALID_PARAMS, "no call waits under this requestState (any more): call again")
        for key, answer in (answers or {}).items():
            question = exchange.questions.pop(key, None)
            if question and isinstance(answer, dict):
                question.answer = answer
                question.answered.set()
        return await self._turn(exchange, progress)

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The client's answer to a question of the server's. Raises `MCPError` if no call is there to ask it in."""
        exchange = next((held for held in reversed(self._held.values()) if not held.ended), None)
        if exchange is None:
            raise MCPError(INVALID_REQUEST, f"{method}: this client answers only during a call")
        question = _Question(method, params)
        exchange.questions[secrets.token_hex(4)] = question
        exchange.tell()
        await question.answered.wait()
        return question.answer or {}

    async def _carry_out(self, exchange: _Exchange, call: Call) -> None:
        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            if exchange.progress:
                await exchange.progress(progress, total, message)

        with exchange.scope:
            try:
                exchange.result = await call(on_progress)
            except Exception as error:  # noqa: BLE001 - raised in the request that waits for it
                exchange.error = error
        exchange.tell()
        if exchange.scope.cancelled_caught:
            self._held.pop(exchange.state, None)

    async def _turn(self, exchange: _Exchange, progress: ProgressFnT | None) -> dict[str, Any]:
        """Wait for the result or for a question. A client that cancels meanwhile cancels the call."""
        exchange.progress = progress
        try:
            while not (exchange.ended or exchange.untold()):
                exchange.news = anyio.Event()
                await exchange.news.wait()
        except anyio.get_cancelled_exc_class():
            exchange.scope.cancel()
            raise
        if exchange.ended:
            self._held.pop(exchange.state, None)
            if exchange.error:
                raise exchange.error
            return exchange.result or {}
        asked = exchange.untold()
        for question in asked.values():
            question.told = True
        requests = {key: {"method": question.method, "params": question.params} for key, question in asked.items()}
        return {"resultType": "input_required", "inputRequests": requests, "requestState": exchange.state}
