"""The guard: decide, audit, act. Every stage reports here; none knows another.

    origin -> authenticate -> session -> message -> authorize -> limit -> validate -> audit -> the app -> inspect

State lives in locals (`Call`); `self` holds settings and what is shared by design: keys, remembered tokens, budgets.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from starlette.types import ASGIApp, Receive, Send

from garrison.base.clock import Clock, system_clock
from garrison.base.events import EventSink
from garrison.base.fetch import Fetcher
from garrison.content.schema import ToolSchemas
from garrison.guard import configuration, identity, limit, lists, respond, results, validate
from garrison.guard import message as messages
from garrison.guard.audit import Audit
from garrison.guard.authenticate import LEEWAY, Authenticator
from garrison.guard.authorize import Authorizer
from garrison.guard.inbound import Inbound
from garrison.guard.inspect import ResponseWatch
from garrison.guard.keys import IssuerKeys
from garrison.guard.metadata import Metadata
from garrison.guard.origin import Origin
from garrison.guard.policy import Policy
from garrison.guard.refusal import Broken, Refusal
from garrison.guard.request_state import StateBinding
from garrison.guard.session import SessionBinding
from garrison.guard.types import Call, Caller, Request, Scope
from garrison.limits.limiter import Limiter
from garrison.oauth import scope as scope_rfc6749

MAX_BODY = 1 << 20
BODY_TIMEOUT = 30.0
AFTERMATH_TIMEOUT = 5.0
"""Seconds for what remains to be written down after a call that was cancelled."""
SUBSCRIBE = "subscriptions/listen"

_log = logging.getLogger(__name__)


class Guard:
    """Wraps an MCP server's ASGI app; nothing reaches the app that wasn't allowed, and recorded, before.

    Args:
        app: the MCP server, as an ASGI application that speaks Streamable HTTP at the path of `resource`.
        policy: who may do what; what it doesn't name is denied.
        resource: the server's URL as clients know it; the audience of its tokens (RFC 8707).
        issuer: the authorization servers whose tokens are believed, each the exact string it calls itself.
        events: where decisions are recorded; while it fails, nothing is allowed.
        limiter: budgets by principal.
        schemas: arguments of every tool that the policy names.
        secret: at least 32 random bytes, the same on every replica; binds sessions to callers.
        fetcher: fetches the issuers' keys; stays the caller's to close.
        allowed_hosts: further `Host` values, beyond the resource's own.
        allowed_origins: further `Origin` values of browser clients.
        max_body: bytes of a request body.
        body_timeout: seconds in which a request body must arrive.
        insecure_http_off_loopback: allows a resource of plain http that isn't on this machine.
        filter_lists: whether lists hold only what the caller may use.

    Raises:
        UsageError: one of these is missing or unsafe. The guard refuses to start.
    """

    def __init__(
        self,
        app: ASGIApp,
        policy: Policy,
        *,
        resource: str,
        issuer: str | Sequence[str],
        events: EventSink,
        limiter: Limiter,
        schemas: ToolSchemas,
        secret: bytes,
        fetcher: Fetcher,
        allowed_hosts: Sequence[str] = (),
        allowed_origins: Sequence[str] = (),
        max_body: int = MAX_BODY,
        body_timeout: float = BODY_TIMEOUT,
        insecure_http_off_loopback: bool = False,
        filter_lists: bool = True,
        clock: Clock = system_clock,
    ) -> None:
        issuers = (issuer,) if isinstance(issuer, str) else tuple(issuer)
        configuration.check_resource(resource, insecure_http_off_loopback=insecure_http_off_loopback)
        configuration.check_issuers(issuers)
        configuration.check_policy(policy, schemas, issuers)
        configuration.check_secret(secret)
        configuration.check_lists(allowed_hosts=allowed_hosts, allowed_origins=allowed_origins)
        self._app = AuthContextMiddleware(app)
        self._resource = resource
        self._policy = policy
        self._filter_lists = filter_lists
        self._limiter = limiter
        self._schemas = schemas
        self._clock = clock
        self._origin = Origin(resource, allowed_hosts, allowed_origins, max_body)
        self._metadata = Metadata(resource, issuers, policy.scopes())
        self._authenticate = Authenticator(
            {name: IssuerKeys(name, fetcher, clock) for name in issuers},
            resource=resource,
            secret=secret,
            metadata_url=self._metadata.url,
            scopes=scope_rfc6749.render(policy.scopes()),
            clock=clock,
        )
        self._sessions = SessionBinding(secret, resource)
        self._states = StateBinding(secret, resource)
        self._messages = messages.Reader(max_body, body_timeout)
        self._authorizer = Authorizer(policy, self._metadata.url)
        self._audit = Audit(events, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._refuse_websocket(scope, receive, send)
        else:
            raise ValueError(f"the guard lets nothing through that it doesn't know: {scope['type']}")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(Request.of(scope))
        try:
            self._origin.check_host(call.request)
            if document := self._metadata.answer(call.request):
                await respond.send_answer(send, document, call.request.correlation_id)
                return
            caller = await self._decide(call, receive)
            await self._audit.allowed(call)
        except Refusal as refusal:
            await self._refuse(call, refusal, send)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends here
            # A defect of ours must neither let a call through nor go unrecorded.
            _log.exception("the decision about call %s failed", call.request.correlation_id)
            await self._refuse(call, Broken(reason=type(error).__name__), send)
            return
        await self._act(scope, call, caller, receive, send)

    async def _decide(self, call: Call, receive: Receive) -> Caller:
        """Who calls, if the call may happen; what was learnt on the way stands in `call`. Raises `Refusal`."""
        request = call.request
        self._origin.check(request)
        call.caller = caller = await self._authenticate(request)
        call.session_id = self._sessions.unbind(request, caller)
        if request.method == "POST":
            call.message = message = await self._messages.read(request, receive)
            messages.check_agreement(request, message)
            call.message = message = self._states.unbind(message, caller)
            self._authorizer.check(caller, message, in_session=call.session_id is not None)
        await limit.admit(self._limiter, caller, call.message)
        if call.message:
            validate.check_arguments(self._schemas, call.message)
        return caller

    async def _refuse(self, call: Call, refusal: Refusal, send: Send) -> None:
        try:
            await self._audit.refused(call, refusal)
        except Refusal as unrecorded:
            refusal = unrecorded
        await respond.send_answer(send, respond.answer_to(refusal, call), call.request.correlation_id)

    async def _act(self, scope: Scope, call: Call, caller: Caller, receive: Receive, send: Send) -> None:
        started = self._clock()
        inner = identity.forwarded(scope, call, caller, path=self._origin.path, resource=self._resource)
        inbound = Inbound(call.message, receive, self._stream_lifetime(call, caller))
        watch = ResponseWatch(send, call.request.correlation_id, lambda sid: self._sessions.bind(sid, caller))
        failure = "the call did not end"
        try:
            await self._app(inner, inbound.receive, self._outbound(call, caller, watch.send))
            if inbound.expired:
                await watch.end()
            failure = ""
        except Exception as error:
            failure = f"the app raised {type(error).__name__}"
            raise
        finally:
            with anyio.move_on_after(AFTERMATH_TIMEOUT, shield=True) as aftermath:
                await limit.settle(self._limiter, caller, watch.tokens)
                await self._audit.finished(
                    call, status=watch.status, size=watch.size, seconds=self._clock() - started, failure=failure
                )
            if aftermath.cancelled_caught:
                _log.error("event lost: the end of call %s could not be written in time", call.request.correlation_id)

    def _outbound(self, call: Call, caller: Caller, send: Send) -> Send:
        if self._filter_lists and lists.concerns(call):
            return lists.ListFilter(send, self._policy, caller).send
        message = call.message
        if message is not None and results.concerns(message):
            return results.ResultAmender(send, lambda state: self._states.bind(state, caller, message)).send
        return send

    def _stream_lifetime(self, call: Call, caller: Caller) -> float | None:
        """Seconds that a stream of notifications may stay open; None for an answer to a question."""
        if call.message and call.message.method != SUBSCRIBE:
            return None
        return caller.token.expires_at + LEEWAY - self._clock()

    async def _refuse_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """MCP has no such transport, and a page of any origin could open one (CVE-2026-59950)."""
        await receive()
        with suppress(Refusal):  # unrecorded, it is refused all the same, and there is no answer to put a 503 in
            await self._audit.refused(Call(Request.of(scope)), Refusal("There is no websocket here."))
        await send({"type": "websocket.close", "code": 1008})
