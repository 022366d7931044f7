"""How many AI tokens an answer costs: what a model reads of it.

A tool that returns structured content returns it as text too (MCP, tools: structured content), and a client gives its
model one of the two; so the longer is charged, and the other isn't.
"""

import msgspec

from garrison.limits.tokens import TokenCounter

_MARK = b'"structuredContent"'
_NOTHING = msgspec.Raw(b"")


class _Result(msgspec.Struct, frozen=True):
    content: msgspec.Raw = _NOTHING
    structured: msgspec.Raw = msgspec.field(name="structuredContent", default=_NOTHING)


class _Answer(msgspec.Struct):
    result: _Result = _Result()


_read = msgspec.json.Decoder(_Answer).decode


def tokens(part: bytes, count: TokenCounter) -> int:
    """Of `part` of a body: JSON or events; what is no whole message is charged as it stands."""
    counted = count(part)
    if _MARK not in part:
        return counted
    try:
        result = _read(part[part.index(b"{") : part.rindex(b"}") + 1]).result  # an event has a line before it
    except (ValueError, RecursionError):
        return counted
    return max(1, counted - count(min(bytes(result.content), bytes(result.structured), key=len)))
