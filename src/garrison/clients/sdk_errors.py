"""What the SDK's client raises, in our words: groups in groups, of which one exception matters."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
from mcp import MCPError
from pydantic import ValidationError

from garrison.base.errors import GarrisonError
from garrison.clients.errors import CallRefused, ServerUnreachable
from garrison.clients.http import Failures

_LATE = anyio.BrokenResourceError | anyio.ClosedResourceError
"""How the SDK says that an answer came when nobody waited for it any more."""


def explained(error: Exception, failures: Failures) -> GarrisonError | None:
    """`error` for a person: what became of its request, by `failures`, where that was ours; None for a caller's own."""
    error = leaf(error)
    if isinstance(error, MCPError):
        return failures.take(error.data) or CallRefused(error.code, error.message, error.data)
    if isinstance(error, _LATE):
        return ServerUnreachable("the session ended before the answer came")
    if isinstance(error, TimeoutError):
        return ServerUnreachable("the server did not answer in time")
    if isinstance(error, ValidationError | RuntimeError):  # RuntimeError: the SDK's word for a result off its schema
        return ServerUnreachable("the server's answer is not what MCP and its own schema say")
    return error if isinstance(error, GarrisonError) else None


@asynccontextmanager
async def leaving() -> AsyncIterator[None]:
    """An answer that comes while the session is left behind is nobody's any more, and no error."""
    try:
        yield
    except Exception as error:
        if not isinstance(leaf(error), _LATE):
            raise


def leaf(error: Exception) -> Exception:
    """The one exception in `error`, late answers aside: the SDK's task groups wrap what is raised in them."""
    leaves = list(_leaves(error))
    told = [each for each in leaves if not isinstance(each, _LATE)] or leaves[:1]
    return told[0] if len(told) == 1 else error


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error
