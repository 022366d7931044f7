"""Questions of the remote server's (sampling, elicitation, roots), put to the local client in its era's way.

Up to MCP 2025-11-25 a question is a request of the server's own; from 2026-07-28 on it stands in the result of the call
that it is about (`input_required`), and the client calls again with the answer.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp import MCPError, types
from mcp.client.session import ClientRequestContext
from mcp_types import methods
from pydantic import ValidationError

from garrison.base.events import one_line
from garrison.clients.exchanges import Exchanges
from garrison.clients.local import Local

log = logging.getLogger("garrison.bridge")

Again = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""The result of the same request with other parameters."""
_ROUNDS = 10
_ONLY_AGAIN = 0.25  # seconds before a server is asked again that wants nothing else


class Questions:
    """Asks one local client: `local` by requests, or, where it takes none, in the calls that `exchanges` holds."""

    def __init__(self, local: Local, exchanges: Exchanges) -> None:
        self._local = local
        self._exchanges = exchanges

    def callbacks(self) -> dict[str, Any]:
        """For the SDK's client: those for what the local client says that it can answer."""
        can = self._local.capabilities
        found: dict[str, Any] = {}
        if can.sampling is not None:
            found |= {"sampling_callback": self._asked, "sampling_capabilities": can.sampling}
        if can.elicitation is not None:
            found["elicitation_callback"] = self._asked
        if can.roots is not None:
            found["list_roots_callback"] = self._asked_for_roots
        return found

    async def until_none(self, params: dict[str, Any], result: dict[str, Any], again: Again) -> dict[str, Any]:
        """The final result, for a client that takes questions, of a server that puts them into its results.

        Args:
            params: of the request.
            result: the first one.
            again: makes the request again.

        Raises:
            MCPError: the server doesn't stop asking, or the client refuses to answer.
        """
        for _ in range(_ROUNDS):
            if not methods.is_input_required(result):
                return result
            asked: dict[str, Any] = result.get("inputRequests") or {}
            answers: dict[str, Any] = {}
            for key, question in asked.items():
                answers[key] = await self._ask(str(question.get("method")), question.get("params"))
            if not asked:
                await anyio.sleep(_ONLY_AGAIN)
            more = {**params, **({"inputResponses": answers} if asked else {})}
            if (state := result.get("requestState")) is not None:
                more["requestState"] = state
            result = await again(more)
        raise MCPError(types.INTERNAL_ERROR, f"the server asked more than {_ROUNDS} times")

    async def _asked(self, _: ClientRequestContext, params: Any) -> Any:
        sampling = isinstance(params, types.CreateMessageRequestParams)
        return await self._answered("sampling/createMessage" if sampling else "elicitation/create", params)

    async def _asked_for_roots(self, _: ClientRequestContext) -> Any:
        return await self._answered("roots/list", None)

    async def _answered(self, method: str, params: Any) -> Any:
        """The local client's answer to a request of the remote server's, or its refusal."""
        asked = params.model_dump(by_alias=True, mode="json", exclude_none=True) if params else None
        try:
            return methods.parse_client_result(method, "2025-11-25", await self._ask(method, asked))
        except MCPError as error:
            return error.error
        except ValidationError:
            return types.ErrorData(code=types.INTERNAL_ERROR, message="the client's answer is not what MCP says")

    async def _ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        log.info("the server asks: %s", one_line(method))
        if self._local.modern:
            return await self._exchanges.ask(method, params or {})
        return await self._local.ask(method, params)
