"""One JSON-RPC 2.0 message, read once; MCP 2026-07-28's headers must say what its body says.

The bytes that were judged are the bytes that the app gets. So nothing may pass here that another parser could read
otherwise: a repeated key, a member that would make a request look like a response, two eras in one message.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    InboundLadderRejection,
    classify_inbound_request,
    decode_header_value,
    unsupported_protocol_version_rejection,
)
from mcp_types import PROTOCOL_VERSION_META_KEY
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.types import Receive

from garrison.base.begun import Begun
from garrison.content.json_text import JsonError, parse_json
from garrison.guard.refusal import BodyTimeout, HeaderMismatch, ParseFailed, Refusal, TooLarge
from garrison.guard.types import Message, Request, Shape

_ENCODED = "=?"
"""How a name begins that is not written as it is."""
_MEMBERS = {
    frozenset({"jsonrpc", *members, *params}): shape
    for members, shape in (
        (("method", "id"), Shape.REQUEST),
        (("method",), Shape.NOTIFICATION),
        (("id", "result"), Shape.RESPONSE),
        (("id", "error"), Shape.RESPONSE),
    )
    for params in (("params",), ())
}
"""What a message has: exactly one of these."""


Waiting = Callable[[], AbstractContextManager[None]]
"""Entered when a body has to be waited for; it may refuse that."""


class Reader:
    """Args: max_body: bytes. body_timeout: seconds for the whole body."""

    def __init__(self, max_body: int, body_timeout: float) -> None:
        self._max_body = max_body
        self._body_timeout = body_timeout

    async def read(self, receive: Receive, waiting: Waiting) -> bytes:
        """The body. Raises a `Refusal` unless it came in time and size; within `waiting` if it must wait."""
        reading = Begun(self._bounded(receive))
        return reading.result if reading.done else await self._rest(reading, waiting)

    def parse(self, request: Request, body: bytes) -> Message:
        """Raises a `Refusal` unless `body` is one well-formed message."""
        try:
            document = parse_json(body, max_bytes=self._max_body)
        except JsonError as error:
            raise ParseFailed(str(error)) from error
        version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER)
        # The SDK decides by the same header in the same way: what isn't known to be old is held to the new rules.
        modern = version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS
        return _message(document, body, modern=modern)

    async def _rest(self, reading: Begun[bytes], waiting: Waiting) -> bytes:
        """Few get here: most bodies have arrived with their head."""
        try:
            with reading, waiting():
                async with asyncio.timeout(self._body_timeout):  # half the price of anyio's
                    return await reading
        except TimeoutError as error:
            raise BodyTimeout(f"The body did not arrive within {self._body_timeout:g} s.") from error

    async def _bounded(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Refusal("The client went away.")
            part = event.get("body", b"")
            if len(body) + len(part) > self._max_body:
                raise TooLarge(f"The body may have at most {self._max_body} bytes.")
            if not event.get("more_body", False):
                return bytes(body + part) if body else bytes(part)
            body += part


def check_agreement(request: Request, message: Message) -> None:
    """MCP 2026-07-28, transports: whoever routes or judges by header must not be told another thing than the body."""
    _check_mirrors(request, message)
    if not message.modern:
        if PROTOCOL_VERSION_META_KEY in _meta(message):
            raise HeaderMismatch(
                f"The body names a protocol revision that the {MCP_PROTOCOL_VERSION_HEADER} header doesn't."
            )
        return
    rejection = _modern_rejection(request, message)
    if rejection is not None:
        raise HeaderMismatch(rejection.message, code=rejection.code, data=rejection.data)


def _message(document: Any, body: bytes, *, modern: bool) -> Message:
    if not isinstance(document, dict) or document.get("jsonrpc") != "2.0":
        raise Refusal("The body must be one JSON-RPC 2.0 message; there are no batches.")
    shape = _MEMBERS.get(frozenset(document))
    if shape is None or not _fits(document, shape):
        raise Refusal("The body must be a JSON-RPC request, notification or response, and nothing besides.")
    return Message(
        shape=shape,
        method=document.get("method", ""),
        id=document.get("id"),
        params=document.get("params") or {},
        body=body,
        modern=modern,
    )


def _fits(document: Mapping[str, Any], shape: Shape) -> bool:
    """Each member of its type; MCP's params are named ones, and a response has none."""
    id_, params = document.get("id"), document.get("params")
    id_fits = isinstance(id_, str | int) and not isinstance(id_, bool)
    if shape is Shape.RESPONSE:
        return id_fits and "params" not in document
    return (
        isinstance(document["method"], str)
        and (params is None or isinstance(params, dict))
        and (id_fits or shape is Shape.NOTIFICATION)
    )


def _modern_rejection(request: Request, message: Message) -> InboundLadderRejection | None:
    """The SDK's own ladder, so that the guard and the app behind it take the same view."""
    if message.shape is Shape.REQUEST:
        verdict = classify_inbound_request(
            {"method": message.method, "params": message.params}, headers=request.headers
        )
        return verdict if isinstance(verdict, InboundLadderRejection) else None
    return unsupported_protocol_version_rejection(request.headers.get(MCP_PROTOCOL_VERSION_HEADER) or "")


def _check_mirrors(request: Request, message: Message) -> None:
    """In every revision a mirror that is there must be true, also where nothing asks for one."""
    method, name = request.headers.get(MCP_METHOD_HEADER), request.headers.get(MCP_NAME_HEADER)
    if name is not None and not name.isascii():  # the SDK's decoder would raise; no client of any revision sends it
        raise HeaderMismatch(f"The {MCP_NAME_HEADER} header is not ASCII.")
    if method is not None and method != message.method:
        raise HeaderMismatch(f"The {MCP_METHOD_HEADER} header is not the body's method.")
    if name is not None:
        key = NAME_BEARING_METHODS.get(message.method)
        if key is None or (decode_header_value(name) if name.startswith(_ENCODED) else name) != message.params.get(key):
            raise HeaderMismatch(f"The {MCP_NAME_HEADER} header is not the name in the body.")


def _meta(message: Message) -> Mapping[str, Any]:
    meta = message.params.get("_meta")
    return meta if isinstance(meta, dict) else {}
