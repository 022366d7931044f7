"""Parameters of a query or a form (RFC 6749 §3.1, §3.2 and appendix B): each at most once, empty ones as if absent."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import anyio
from starlette.requests import Request

from garrison.oauth.errors import InvalidRequest

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
        super().__init__((name, value) for name, value in pairs if value)
        self.repeated = frozenset(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)

    def check_unrepeated(self) -> None:
        """Raises `InvalidRequest` if a parameter came twice: two readers could each take another one for the truth."""
        if self.repeated:
            named = ", ".join(sorted(self.repeated & _NAMEABLE))
            raise InvalidRequest(f"a parameter came more than once{f': {named}' if named else ''}")


def parse(encoded: bytes) -> Parameters:
    try:
        text = encoded.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise InvalidRequest("the parameters are not form-encoded UTF-8, or there are too many") from error
    return Parameters(pairs)


async def read_form(request: Request, max_bytes: int) -> Parameters:
    """The parameters of a POST body, repeated ones not yet refused.

    Raises:
        InvalidRequest: it isn't a form, can't be parsed, is longer than `max_bytes`, of which no more is read, or took
            too long to come.
    """
    return parse(await _read(request, FORM, max_bytes))


async def read_json(request: Request, max_bytes: int) -> Any:
    """The JSON of a POST body.

    Raises:
        InvalidRequest: as `read_form`.
    """
    body = await _read(request, JSON, max_bytes)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is not JSON") from error


async def _read(request: Request, media_type: str, max_bytes: int) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
        raise InvalidRequest(f"the body must be {media_type}")
    body = bytearray()
    with anyio.move_on_after(FORM_SECONDS) as patience:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise FormTooLarge(f"the body is longer than {max_bytes} bytes")
    if patience.cancelled_caught:
        raise FormTooSlow(f"the body took longer than {FORM_SECONDS} seconds")
    return bytes(body)


def required(form: Mapping[str, str], name: str) -> str:
    if name not in form:
        raise InvalidRequest(f"{name} is required")
    return form[name]
