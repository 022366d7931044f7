"""A request's headers as ASGI gives them, with names in lower case: for what every request is asked for.

Starlette's object for them costs more to make than a look through the few that there are.
"""

from starlette.requests import Request


def values(request: Request, name: bytes) -> list[str]:
    """All that the request says for `name`, in its order."""
    return [value.decode("latin-1") for key, value in request.scope["headers"] if key == name]
