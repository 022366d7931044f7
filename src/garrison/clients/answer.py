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
        server: the name of the server that has the tool; empty if no server has it.
    """

    name: str
    arguments: Mapping[str, Any]
    text: str
    structured: Mapping[str, Any] | None = None
    is_error: bool = False
    server: str = ""


@dataclass(frozen=True)
class Usage:
    """What a question cost: tokens, as the provider counted them, and US dollars where the library knows the price."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None

    def plus(self, input_tokens: int | None, output_tokens: int | None, cost: float | None = None) -> "Usage":
        total = self.cost if cost is None else (self.cost or 0.0) + cost
        return Usage(self.input_tokens + (input_tokens or 0), self.output_tokens + (output_tokens or 0), total)


@dataclass(frozen=True)
class Answer:
    text: str
    calls: tuple[Call, ...] = field(default=())
    usage: Usage = field(default=Usage())
