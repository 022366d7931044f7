"""What an adapter gives back: the model's words, and the calls it made on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """One tool call that a model asked for.

    Attributes:
        name: the tool, by the server's name, or as the model wrote it if there is no such tool.
        arguments: as the model gave them; empty if they were not a JSON object.
        text: the result as the model reads it, or why there is none.
        structured: the result's structured content, if it has any.
        is_error: whether the tool failed, or was not called at all.
    """

    name: str
    arguments: Mapping[str, Any]
    text: str
    structured: Mapping[str, Any] | None = None
    is_error: bool = False


@dataclass(frozen=True)
class Answer:
    text: str
    calls: tuple[Call, ...] = field(default=())
