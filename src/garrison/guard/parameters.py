"""MCP 2026-07-28, transports: arguments that a tool has its clients repeat in Mcp-Param headers (`x-mcp-header`).

Whoever routes or judges by such a header must not be told another value than the tool gets. The app can't be left to
look: the SDK lets a call pass when it can't list its tools, and servers of other makers may not look at all.
"""

from collections.abc import Mapping
from typing import Any

from mcp.shared.inbound import MCP_PARAM_HEADER_PREFIX, validate_mcp_param_headers, x_mcp_header_map

from garrison.guard.refusal import HeaderMismatch
from garrison.guard.types import Message, Request

_PREFIX = MCP_PARAM_HEADER_PREFIX.lower()


class ParameterHeaders:
    """Args: schemas: of every tool's arguments, by the tool's name."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self._repeating = {tool: schema for tool, schema in schemas.items() if x_mcp_header_map(schema)}

    def check(self, request: Request, message: Message, tool: str, arguments: Mapping[str, Any]) -> None:
        """Judges a call whose arguments fit the tool's schema.

        Older revisions know no such header; one that is there must be true all the same.

        Raises:
            HeaderMismatch: a header isn't the argument, is missing, or comes twice.
        """
        schema = self._repeating.get(tool)
        if schema is None:
            return
        headers = {name: value for name, value in request.headers.items() if name.startswith(_PREFIX)}
        if not (headers or message.modern):
            return
        for name, value in headers.items():
            if name in request.repeated:
                raise HeaderMismatch(f"The {name} header may appear only once.")
            if not value.isascii():  # the SDK's decoder would raise
                raise HeaderMismatch(f"The {name} header is not ASCII.")
        rejection = validate_mcp_param_headers(schema, arguments, headers)
        if rejection is not None:
            raise HeaderMismatch(rejection.message)
