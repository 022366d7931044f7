"""Hands on everything between one local MCP client and one remote server, whatever era either of them speaks.

A middleware of the SDK's low-level server: the SDK finds out the local client's era and shapes what is answered here
(`ping`, the handshake's frame, the stream of a `subscriptions/listen`); all else goes to the remote server and comes
back as it is, or in the words of the other era (wire.py, questions.py, exchanges.py, listening.py, changes.py).
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from anyio.abc import TaskGroup
from mcp import MCPError, types
from mcp.client import advertise
from mcp.server.context import CallNext
from mcp.server.lowlevel import Server
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.subscriptions import event_from_wire
from mcp_types import methods
from pydantic import ValidationError

from garrison.base.errors import GarrisonError
from garrison.base.events import one_line
from garrison.clients.changes import KINDS, Changes
from garrison.clients.errors import CallRefused
from garrison.clients.exchanges import Exchanges
from garrison.clients.http import CLIENT_INFO
from garrison.clients.keeper import Clocks
from garrison.clients.link import Link
from garrison.clients.listening import Listening
from garrison.clients.local import Context, Local, progress_of
from garrison.clients.questions import Questions
from garrison.clients.session import Session
from garrison.clients.wire import AnyNotification, is_modern, outgoing, shaped

log = logging.getLogger("garrison.bridge")

Connect = Callable[[Mapping[str, Any]], AbstractAsyncContextManager[Session]]
"""A session that is not entered yet, with these further options of the SDK's client."""
_SAID_BY_CLIENT = frozenset({"notifications/initialized", "notifications/cancelled"})
"""Notifications about this hop alone. (A cancelled request cancels the remote one where it is waited for.)"""


class Relay:
    """One local client's side of the bridge; `server` is what it talks to."""

    def __init__(
        self,
        tasks: TaskGroup,
        connect: Connect,
        *,
        pauses: tuple[float, ...] | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._local = Local()
        self._connect = connect
        self._level: str | None = None
        more: dict[str, Any] = {} if pauses is None else {"pauses": pauses}
        self._link = Link(tasks, self._opening, self._renewed, clocks=clocks, **more)
        self._changes = Changes(tasks, self._link, self._tell)
        self._exchanges = Exchanges(tasks)
        self._questions = Questions(self._local, self._exchanges)
        self._listening = Listening(self._changes)
        self.server: Server[Any] = Server("garrison-bridge", on_subscriptions_listen=self._listening.serve)
        self.server.middleware.append(self)
        self._own = {
            "initialize": self._introduce,
            "server/discover": self._introduce,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._subscribe,
            "logging/setLevel": self._set_level,
        }

    async def close(self) -> None:
        await self._link.close()

    async def __call__(self, ctx: Context, call_next: CallNext) -> Any:
        if ctx.request_id is None:
            return await self._said(ctx, call_next)
        started = time.monotonic()
        await self._local.hear(ctx)
        try:
            answer = await self._answer(ctx, call_next)
        except CallRefused as refused:
            self._log(ctx, started, one_line(refused.said))
            raise MCPError(refused.code, refused.said, refused.data) from refused
        except GarrisonError as error:
            self._log(ctx, started, f"{one_line(error.message)}. {one_line(error.hint)}")
            raise _told(ctx, f"{error.message}. {error.hint}".rstrip(". ")) from error
        except ValidationError as error:
            self._log(ctx, started, "the answer can't be said in the client's version of MCP")
            raise MCPError(types.INTERNAL_ERROR, "the server's answer can't be said in this version of MCP") from error
        self._log(ctx, started, "")
        return answer

    async def _answer(self, ctx: Context, call_next: CallNext) -> Any:
        if ctx.method in {"ping", "subscriptions/listen"}:
            return await call_next(ctx)
        if own := self._own.get(ctx.method):
            return await own(ctx, call_next)
        return await self._forward(ctx)

    async def _introduce(self, ctx: Context, call_next: CallNext) -> dict[str, Any]:
        """The remote server's name, capabilities and instructions, in the local era's frame."""
        async with self._link.session() as session:
            client = session.client
        answer = await call_next(ctx)
        frame: dict[str, Any] = dict(answer) if isinstance(answer, dict) else {}
        frame["capabilities"] = client.server_capabilities.model_dump(by_alias=True, mode="json", exclude_none=True)
        frame.pop("instructions", None)
        if client.instructions:
            frame["instructions"] = client.instructions
        if ctx.method == "initialize":
            frame["serverInfo"] = _server_info(session)
        else:
            frame["_meta"] = {**frame.get("_meta", {}), types.SERVER_INFO_META_KEY: _server_info(session)}
        return frame

    async def _forward(self, ctx: Context) -> dict[str, Any]:
        async with self._link.session() as session:
            modern, info = is_modern(session.client.protocol_version), _server_info(session)
        params = outgoing(ctx.params, modern=modern, log_level=None if self._local.modern else self._local.log_level)
        progress = progress_of(ctx)
        if self._local.modern and not modern:
            await self._pass_on_level()
        if self._local.modern and not modern and ctx.method in methods.INPUT_REQUIRED_METHODS:
            result, version = await self._held(ctx, params or {}, progress), ""
        else:
            result, version = await self._link.request(ctx.method, params, progress)
            if not self._local.modern:

                async def again(more: dict[str, Any]) -> dict[str, Any]:
                    return (await self._link.request(ctx.method, more, progress))[0]

                result = await self._questions.until_none(params or {}, result, again)
        return shaped(ctx.method, result, version, ctx.protocol_version, info)

    async def _held(self, ctx: Context, params: dict[str, Any], progress: ProgressFnT | None) -> dict[str, Any]:
        """For a client that takes no questions, from a server that asks them: see exchanges.py."""
        answers, state = params.pop("inputResponses", None), params.pop("requestState", None)
        about = ctx.method, params.get("name", params.get("uri"))
        if state is not None:
            return await self._exchanges.go_on(about, state, answers, progress)

        async def call(on_progress: ProgressFnT) -> dict[str, Any]:
            return (await self._link.request(ctx.method, params or None, on_progress if progress else None))[0]

        return await self._exchanges.begin(about, call, progress)

    async def _subscribe(self, ctx: Context, _: CallNext) -> dict[str, Any]:
        act = self._changes.want if ctx.method == "resources/subscribe" else self._changes.leave
        await act([], [str((ctx.params or {}).get("uri"))])
        return {}

    async def _set_level(self, ctx: Context, _: CallNext) -> dict[str, Any]:
        self._local.log_level = str((ctx.params or {}).get("level"))
        async with self._link.session() as session:
            modern = is_modern(session.client.protocol_version)
        return {} if modern else await self._forward(ctx)

    async def _pass_on_level(self) -> None:
        """Tell a server of the older era, once, what the client of the newer one says in each request."""
        level, self._level = self._level, self._local.log_level
        if self._level not in {None, level}:
            async with self._link.session() as session:
                can_log = session.client.server_capabilities.logging is not None
            if can_log:
                await self._link.request("logging/setLevel", {"level": self._level})

    async def _said(self, ctx: Context, call_next: CallNext) -> None:
        """A notification of the local client's."""
        if ctx.method not in _SAID_BY_CLIENT:
            async with self._link.session() as session:
                if not is_modern(session.client.protocol_version):  # the newer era's clients say nothing
                    params = dict(ctx.params) if ctx.params is not None else None
                    said: Any = AnyNotification(method=ctx.method, params=params)
                    await session.client.session.send_notification(said)
            return
        await call_next(ctx)
        if ctx.method == "notifications/initialized":
            await self._local.begin()
            await self._changes.want(KINDS, [])

    def _opening(self) -> AbstractAsyncContextManager[Session]:
        """A session that says of itself what the local client says, so that the server knows whom it serves."""
        extensions = self._local.capabilities.extensions or {}
        options: dict[str, Any] = {
            "cache": None,
            "client_info": self._local.info or CLIENT_INFO,
            "message_handler": self._heard,
            "extensions": [advertise(name, settings) for name, settings in extensions.items()],
        }
        return self._connect(options | self._questions.callbacks())

    async def _renewed(self, session: Session) -> None:
        if self._local.log_level and not is_modern(session.client.protocol_version):
            try:
                await self._link.request("logging/setLevel", {"level": self._local.log_level})
            except GarrisonError as error:
                log.info("the log level could not be renewed: %s", one_line(error.message))
        await self._changes.renewed(session)

    async def _heard(self, message: Any) -> None:
        """A notification of the remote server's."""
        if isinstance(message, Exception):
            log.warning("%s", one_line(str(message)) or type(message).__name__)
        elif not isinstance(message, types.ProgressNotification):  # those go where their request is waited for
            said = message.model_dump(by_alias=True, mode="json", exclude_none=True)
            await self._tell(said["method"], said.get("params"))

    async def _tell(self, method: str, params: dict[str, Any] | None) -> None:
        event = event_from_wire(method, params)
        if event is not None and self._local.modern:
            await self._listening.publish(event)
        else:
            await self._local.tell(method, params)

    @staticmethod
    def _log(ctx: Context, started: float, failure: str) -> None:
        name = one_line(str((ctx.params or {}).get("name", "")))
        took = f"{1000 * (time.monotonic() - started):.0f} ms"
        log.log(logging.WARNING if failure else logging.INFO, "%s %s: %s", one_line(ctx.method), name, failure or took)


def _told(ctx: Context, said: str) -> MCPError:
    """`said` as an error of this hop.

    Of all answers to `server/discover`, clients that speak both eras take only this one for the server's last word: at
    any other they try the older handshake, whose refusal, and not what was said, is then what the person reads.
    """
    if ctx.method == "server/discover":
        return MCPError(types.UNSUPPORTED_PROTOCOL_VERSION, said, {"supported": [], "requested": ctx.protocol_version})
    return MCPError(types.INTERNAL_ERROR, said)


def _server_info(session: Session) -> dict[str, Any]:
    info = session.client.server_info or types.Implementation(name="", version="")
    return info.model_dump(by_alias=True, mode="json", exclude_none=True)
