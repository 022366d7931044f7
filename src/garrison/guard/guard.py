"""The guard: decide, audit, act. Every stage reports here; none knows another.

    origin -> authenticate -> session -> message -> authorize -> limit -> validate -> audit -> the app -> inspect

State lives in locals (`Call`); `self` holds settings and what is shared by design: keys, remembered tokens, budgets.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import anyio
from mcp.server.auth.middleware.auth_context import auth_context_var
from starlette.types import ASGIApp, Receive, Send

from garrison.base.clock import Clock, system_clock
from garrison.base.events import Event, EventSink
from garrison.base.fetch import Fetcher
from garrison.base.peers import Peers
from garrison.content.schema import ToolSchemas
from garrison.guard import configuration, limit, respond
from garrison.guard import message as messages
from garrison.guard.audit import Audit
from garrison.guard.authenticate import Authenticator
from garrison.guard.authorize import Authorizer
from garrison.guard.identity import Identity
from garrison.guard.inbound import Inbound
from garrison.guard.inspect import ResponseWatch
from garrison.guard.issuers import Issuer, common_scope_prefix
from garrison.guard.metadata import Metadata
from garrison.guard.origin import Origin
from garrison.guard.outbound import Outbound
from garrison.guard.policy import Policy
from garrison.guard.refusal import Broken, Refusal
from garrison.guard.request_state import StateBinding
from garrison.guard.session import SessionBinding
from garrison.guard.types import Call, Caller, Request, Scope
from garrison.guard.validate import Validator
from garrison.guard.verify import LEEWAY, IssuerVerifier
from garrison.limits.limiter import Limiter
from garrison.oauth import scope as scope_rfc6749

MAX_BODY = 1 << 20
BODY_TIMEOUT = 30.0
AFTERMATH_TIMEOUT = 5.0
"""Seconds for what remains to be charged after a call that was cancelled."""
_CUT_SHORT = "the call did not end"
SUBSCRIBE = "subscriptions/listen"

_log = logging.getLogger(__name__)


class Guard:
    """Wraps an MCP server's ASGI app; nothing reaches the app that wasn't allowed, and recorded, before.

    Args:
        app: the MCP server, as an ASGI application that speaks Streamable HTTP at the path of `resource`.
        policy: who may do what; what it doesn't name is denied.
        resource: the server's URL as clients know it; the audience of its tokens (RFC 8707).
        issuer: the authorization servers whose tokens are believed; a text is the exact string that one calls itself,
            and its tokens are RFC 9068's.
        events: where decisions are recorded; while it fails, nothing is allowed.
        limiter: budgets of principals and of strangers.
        schemas: arguments of every tool that the policy names.
        secret: at least 32 random bytes, the same on every replica; binds sessions to callers.
        fetcher: fetches the issuers' keys; stays the caller's to close.
        allowed_hosts: further `Host` values, beyond the resource's own.
        allowed_origins: further `Origin` values of browser clients.
        max_body: bytes of a request body.
        body_timeout: seconds in which a request body must arrive.
        insecure_http_off_loopback: allows a resource of plain http that isn't on this machine.
        filter_lists: whether lists hold only what the caller may use.
        trusted_proxies: addresses or networks of the proxies whose X-Forwarded-For or Forwarded is believed.

    Raises:
        UsageError: one of these is missing or unsafe. The guard refuses to start.
    """

    def __init__(
        self,
        app: ASGIApp,
        policy: Policy,
        *,
        resource: str,
        issuer: str | Issuer | Sequence[str | Issuer],
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
        trusted_proxies: Sequence[str] = (),
        clock: Clock = system_clock,
    ) -> None:
        issuers = [Issuer.of(one) for one in ((issuer,) if isinstance(issuer, str | Issuer) else issuer)]
        configuration.check_resource(resource, insecure_http_off_loopback=insecure_http_off_loopback)
        configuration.check_issuers(issuers)
        configuration.check_policy(policy, schemas, [one.url for one in issuers])
        configuration.check_tool_limits(limiter.tools, policy)
        configuration.check_secret(secret)
        configuration.check_lists(allowed_hosts=allowed_hosts, allowed_origins=allowed_origins)
        self._app = app
        self._resource = resource
        self._peers = Peers(trusted_proxies)
        self._gate = limit.Gate(limiter, events, clock)
        self._validate = Validator(schemas)
        self._clock = clock
        self._origin = Origin(resource, allowed_hosts, allowed_origins, max_body)
        asked = [common_scope_prefix(issuers) + scope for scope in policy.scopes()]
        self._metadata = Metadata(resource, [one.url for one in issuers], asked)
        verifiers = {one.url: IssuerVerifier(one, resource=resource, fetcher=fetcher, clock=clock) for one in issuers}
        opaque = next((verifiers[one.url] for one in issuers if one.introspection and one.introspection.opaque), None)
        self._authenticate = Authenticator(
            verifiers,
            opaque,
            secret=secret,
            metadata_url=self._metadata.url,
            scopes=scope_rfc6749.render(asked),
            clock=clock,
        )
        self._identity = Identity(self._origin.path, resource)
        self._sessions = SessionBinding(secret, resource, policy)
        self._states = StateBinding(secret, resource)
        self._outbound = Outbound(policy, self._sessions, self._states, filter_lists=filter_lists)
        self._messages = messages.Reader(max_body, body_timeout)
        self._authorizer = Authorizer(policy, self._metadata.url, {one.url: one.scope_prefix for one in issuers})
        self._audit = Audit(events, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            call = Call(Request.of(scope, self._peers))
            try:
                if allowed := await self._allowed(call, receive, send):
                    await self._act(scope, call, *allowed, receive, send)
            finally:
                self._gate.leave(call)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._refuse_websocket(scope, receive, send)
        else:
            raise ValueError(f"the guard lets nothing through that it doesn't know: {scope['type']}")

    async def _allowed(self, call: Call, receive: Receive, send: Send) -> tuple[Caller, Event] | None:
        """Who calls, and what was recorded of it, if the call may happen; None for one that has its answer."""
        try:
            self._origin.check_host(call.request)
            if document := self._metadata.answer(call.request):
                await self._gate.check_document(call.request)
                await respond.send_answer(send, document, call.request.correlation_id)
                return None
            return await self._decide(call, receive), await self._audit.allowed(call)
        except Refusal as refusal:
            await self._refuse(call, refusal, send)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends here
            # A defect of ours must neither let a call through nor go unrecorded.
            _log.exception("the decision about call %s failed", call.request.correlation_id)
            await self._refuse(call, Broken(reason=type(error).__name__), send)
        return None

    async def _decide(self, call: Call, receive: Receive) -> Caller:
        """Who calls, if the call may happen; what was learnt on the way stands in `call`. Raises `Refusal`."""
        request = call.request
        self._origin.check(request)
        call.caller = caller = await self._authenticate(request)
        call.session_id, call.last_event_id = self._sessions.unbind(request, caller)
        if request.method == "POST":
            self._gate.expect(caller)
            body = await self._messages.read(receive, partial(self._gate.reading, caller))
            call.read = len(body)
            call.message = message = self._messages.parse(request, body)
            messages.check_agreement(request, message)
            call.message = message = self._states.unbind(message, caller)
            self._authorizer.check(caller, message, in_session=call.session_id is not None)
        await self._gate.admit(call, caller)
        if call.message:
            self._validate.check(request, call.message)
        return caller

    async def _refuse(self, call: Call, refusal: Refusal, send: Send) -> None:
        refusal = await self._gate.answer(call, refusal)
        try:
            if refusal.recorded:
                await self._audit.refused(call, refusal)
        except Refusal as unrecorded:
            refusal = unrecorded
        await respond.send_answer(send, respond.answer_to(refusal, call), call.request.correlation_id)

    async def _act(
        self, scope: Scope, call: Call, caller: Caller, allowed: Event, receive: Receive, send: Send
    ) -> None:
        inner = self._identity.forwarded(scope, call, caller)
        lease = partial(self._authenticate.lease, call.request, caller) if caller.revocable else None
        inbound = Inbound(call.message, receive, self._stream_lifetime(call, caller), lease)
        watch = ResponseWatch(
            send,
            call.request.correlation_id,
            lambda sid: self._sessions.bind(sid, caller),
            self._gate.headers(call),
            self._gate.answered,
        )
        told = auth_context_var.set(inner["user"])
        try:
            await self._app(inner, inbound.receive, self._outbound.before(watch.send, call, caller))
            if inbound.expired:
                await watch.end()
        except BaseException as error:
            raised = isinstance(error, Exception)
            failure = f"the app raised {type(error).__name__}" if raised else _CUT_SHORT
            self._audit.finished(allowed, status=watch.status, size=watch.size, failure=failure)
            with anyio.move_on_after(AFTERMATH_TIMEOUT, shield=True):
                await self._gate.settle(caller, watch.tokens)
            raise
        finally:
            auth_context_var.reset(told)
        self._audit.finished(allowed, status=watch.status, size=watch.size, failure="")
        await self._gate.settle(caller, watch.tokens)

    def _stream_lifetime(self, call: Call, caller: Caller) -> float | None:
        """Seconds that a stream of notifications may stay open; None for an answer to a question."""
        if call.message and call.message.method != SUBSCRIBE:
            return None
        return caller.token.expires_at + LEEWAY - self._clock()

    async def _refuse_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """MCP has no such transport, and a page of any origin could open one (CVE-2026-59950)."""
        await receive()
        call = Call(Request.of(scope, self._peers))
        refusal = await self._gate.answer(call, Refusal("There is no websocket here."))
        with suppress(Refusal):  # unrecorded, it is refused all the same, and there is no answer to put a 503 in
            if refusal.recorded:
                await self._audit.refused(call, refusal)
        await send({"type": "websocket.close", "code": 1008})
