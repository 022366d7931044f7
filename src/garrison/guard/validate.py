"""The arguments of tools/call against the tool's closed schema, before the tool sees them."""

from garrison.content.schema import ToolSchemas
from garrison.guard.refusal import InputRejected
from garrison.guard.types import Message, Shape

CALL = "tools/call"


def check_arguments(schemas: ToolSchemas, message: Message) -> None:
    """Passes whatever is not a tools/call.

    Raises:
        InputRejected: with a sentence for each problem, so that a model can correct itself; also for a tool without a
            schema, as nothing can be said for its arguments then.
    """
    if message.shape is not Shape.REQUEST or message.method != CALL:
        return
    arguments = message.params.get("arguments")
    problems = schemas.check(message.params["name"], {} if arguments is None else arguments)
    if problems:
        raise InputRejected(problems)
