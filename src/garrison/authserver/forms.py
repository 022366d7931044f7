"""Parameters of a query or a form (RFC 6749 §3.1, §3.2 and appendix B): each at most once, empty ones as if absent."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from garrison.authserver import headers
from garrison.base.begun import Begun
from garrison.content.json_text import JsonError, parse_json
from garrison.oauth.errors import InvalidRequest
from garrison.oauth.form_encoding import decoded

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
FORM_SECONDS = 15
MAX_PARAMETERS = 50
_NAMEABLE = frozenset(
    {
        "client_id",
        "client_secret",
        "code",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "grant_type",
        "redirect_uri",
        "refresh_token",
        "resource",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "token",
    }
)
"""The names that an error may repeat: whatever else a link has for a name would be its author's words on our page."""


class FormTooLarge(InvalidRequest):
    status = 413


class FormTooSlow(InvalidRequest):
    status = 408


class Parameters(dict[str, str]):
    """The parameters by name, of a repeated one the last; `repeated` names those that came more than once."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__([pair for pair in pairs if pair[1]])
        unique = len(dict(pairs)) == len(pairs)
        self.repeated = frozenset(() if unique else _repeated([name for name, _ in pairs]))

    def check_unrepeated(self) -> None:
        """Raises `InvalidRequest` if a parameter came twice: two readers could each take another one for the truth."""
        if self.repeated:
            named = ", ".join(sorted(self.repeated & _NAMEABLE))
            raise InvalidRequest(f"a parameter came more than once{f': {named}' if named else ''}")


def _repeated(names: list[str]) -> list[str]:
    return [name for name in names if names.count(name) > 1]


def parse(encoded: bytes) -> Parameters:
    if b"%00" in encoded or b"\0" in encoded:
        raise InvalidRequest("a parameter has a character that no database can hold (NUL)")
    try:
        fields = [field.partition("=") for field in encoded.decode("ascii").split("&", MAX_PARAMETERS) if field]
        # All are decoded in one go: NUL, which is in none of them, holds them apart.
        texts = decoded("\0".join([text for name, _, value in fields for text in (name, value)])).split("\0")
    except ValueError as error:
        raise InvalidRequest("the parameters are not form-encoded UTF-8") from error
    if len(fields) > MAX_PARAMETERS:
        raise InvalidRequest(f"there are more than {MAX_PARAMETERS} parameters")
    return Parameters([*zip(texts[::2], texts[1::2], strict=False)])


async def read_form(request: Request, max_bytes: int) -> Parameters:
    """The parameters of a POST body, repeated ones not yet refused.

    Raises:
        InvalidRequest: it isn't a form, can't be parsed, is longer than `max_bytes`, of which no more is read, or took
            too long to come.
    """
    return parse(await _read(request, FORM, max_bytes))


async def read_either(request: Request, max_bytes: int) -> Parameters:
    """The parameters of a POST's form, or else of the query, each at most once.

    Raises:
        InvalidRequest: as `read_form`, or one came twice.
    """
    query: bytes = request.scope["query_string"]
    parameters = await read_form(request, max_bytes) if request.method == "POST" else parse(query)
    parameters.check_unrepeated()
    return parameters


async def read_json(request: Request, max_bytes: int) -> Any:
    """The JSON of a POST body: nothing that could not be answered in JSON again, nor be kept by every database.

    Raises:
        InvalidRequest: as `read_form`.
    """
    body = await _read(request, JSON, max_bytes)
    try:
        return parse_json(body)
    except JsonError as error:
        raise InvalidRequest("the body is not JSON", detail=str(error)) from error


async def _read(request: Request, media_type: str, max_bytes: int) -> bytes:
    said = headers.values(request, b"content-type")
    if not said or said[0].partition(";")[0].strip().lower() != media_type:
        raise InvalidRequest(f"the body must be {media_type}")
    reading = Begun(_bounded(request.receive, max_bytes))
    if reading.done:
        return reading.result
    try:
        async with asyncio.timeout(FORM_SECONDS):
            return await reading
    except TimeoutError as error:
        raise FormTooSlow(f"the body took longer than {FORM_SECONDS} seconds") from error


async def _bounded(receive: Receive, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise FormTooLarge(f"the body is longer than {max_bytes} bytes")
        if not message.get("more_body", False):
            return bytes(body)


def required(form: Mapping[str, str], name: str) -> str:
    if name not in form:
        raise InvalidRequest(f"{name} is required")
    return form[name]
