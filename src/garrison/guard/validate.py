"""The arguments of tools/call against the tool's closed schema, before the tool sees them."""

from garrison.content.schema import ToolSchemas
from garrison.guard.parameters import ParameterHeaders
from garrison.guard.refusal import InputRejected
from garrison.guard.types import Message, Request, Shape

CALL = "tools/call"


class Validator:
    """Args: schemas: of the arguments of every tool that may be called."""

    def __init__(self, schemas: ToolSchemas) -> None:
        self._schemas = schemas
        self._headers = ParameterHeaders(schemas.declared)

    def check(self, request: Request, message: Message) -> None:
        """Passes whatever is not a tools/call.

        Raises:
            InputRejected: with a sentence for each problem, so that a model can correct itself; also for a tool without
                a schema, as nothing can be said for its arguments then.
            HeaderMismatch: a header that repeats an argument says another thing.
        """
        if message.method != CALL or message.shape is not Shape.REQUEST:
            return
        tool, arguments = message.params["name"], message.params.get("arguments")
        if arguments is None:
            arguments = {}
        if problems := self._schemas.check(tool, arguments):
            raise InputRejected(problems)
        self._headers.check(request, message, tool, arguments)
