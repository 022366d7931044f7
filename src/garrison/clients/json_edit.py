"""Changes one member of a JSON file and leaves every other byte of it as it is, comments and spacing too.

For the configuration of other programs, which people write by hand: JSON, or JSON with comments and trailing commas
(as VS Code reads it). What is neither is refused rather than guessed at.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from garrison.base.errors import UsageError

_TOKEN = re.compile(r'\s+|//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"/]+', re.DOTALL)
_LINE_END = re.compile(r"[ \t\r]*\n")
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
_MAX_DEPTH = 200


@dataclass
class _Member:
    name: str
    start: int  # of the name
    value: "_Value"


@dataclass
class _Value:
    """A value's place in the text; an object's members besides."""

    start: int
    end: int = 0
    is_object: bool = False
    members: list[_Member] = field(default_factory=list)
    comma: int = -1  # of an object's trailing comma

    def member(self, name: str) -> _Member | None:
        return next((member for member in self.members if member.name == name), None)


def read(text: str) -> dict[str, Any]:
    """What `text` says, comments left out; an empty file says `{}`. Raises `UsageError` if it is no JSON object."""
    tokens = _tokens(text)
    words = [text[start:end] for start, end in tokens]
    closing = [following in {"}", "]"} for following in [*words[1:], ""]]
    plain = " ".join(word for word, last in zip(words, closing, strict=False) if not (word == "," and last))
    try:
        said = json.loads(plain) if plain else {}
    except (ValueError, RecursionError) as error:
        raise UsageError("it is not JSON") from error
    if not isinstance(said, dict):
        raise UsageError("it is not a JSON object")
    return said


def put(text: str, path: Sequence[str], value: Any) -> str:
    """`text` with `value` as the member that `path` names; objects on the way are made.

    Raises:
        UsageError: it is no JSON object, or something else is in the way.
    """
    said: Any = read(text)
    for name in path[:-1]:
        if name in said and not isinstance(said[name], dict):
            raise UsageError(f"its {name!r} is not an object")
        said = said.get(name, {})
    if not _tokens(text):
        return json.dumps(_nested(path, value), indent=2) + "\n"
    place, rest = _parse(text), list(path)
    while len(rest) > 1 and (inner := place.member(rest[0])):
        place, rest = inner.value, rest[1:]
    value = _nested(rest[1:], value) if len(rest) > 1 else value
    unit, newline = _style(text)
    if found := place.member(rest[0]):
        indent = _indent(text, found.start)
        return text[: found.value.start] + _dump(value, indent, unit, newline) + text[found.value.end :]
    return _insert(text, place, rest[0], value, unit, newline)


def remove(text: str, path: Sequence[str]) -> str:
    """`text` without the member that `path` names; the same text if it has none. Raises `UsageError` as `read`."""
    read(text)
    if not _tokens(text):
        return text
    place = _parse(text)
    for name in path[:-1]:
        inner = place.member(name)
        if inner is None:
            return text
        place = inner.value
    gone = place.member(path[-1])
    if gone is None:
        return text
    number = place.members.index(gone)
    if number + 1 < len(place.members):
        return text[: gone.start] + text[place.members[number + 1].start :]
    end = place.comma + 1 if place.comma >= 0 else gone.value.end
    before = _kept_before(text, gone.start, end)
    if number:
        previous = place.members[number - 1].value.end
        if place.comma < 0:  # the comma between the two goes; comments there stay
            comma = next(start for start, _ in _tokens(text) if start >= previous)
            return text[:comma] + text[comma + 1 : before] + text[end:]
        return text[:before] + text[end:]
    rest = text[end:]
    return text[:before] + (rest.lstrip() if before == place.start + 1 else rest)


def _kept_before(text: str, start: int, end: int) -> int:
    """How much of `text` stays before what goes from `start` to `end`: no spaces, but the line end of a comment."""
    before = len(text[:start].rstrip())
    comments = (match for match in _TOKEN.finditer(text, 0, start) if match[0].startswith("//"))
    in_comment = any(comment.start() < before <= comment.end() for comment in comments)
    return text.index("\n", before) + 1 if in_comment and not _LINE_END.match(text, end) else before


def _insert(text: str, place: _Value, name: str, value: Any, unit: str, newline: str) -> str:
    """As the last member, on a line of its own if the object has lines."""
    key = json.dumps(name, ensure_ascii=False)
    if not place.members:
        indent = _indent(text, place.start) + unit
        body = f"{newline}{indent}{key}: {_dump(value, indent, unit, newline)}{newline}{_indent(text, place.start)}"
        inside = text[place.start + 1 : place.end - 1]
        return text[: place.start + 1] + inside.rstrip() + body + text[place.end - 1 :]
    last = place.members[-1]
    comma, after = ("", place.comma + 1) if place.comma >= 0 else (",", last.value.end)
    inside_end = len(text[: place.end - 1].rstrip())
    if "\n" not in text[place.start : place.end]:
        return f"{text[:after]}{comma} {key}: {json.dumps(value)}{text[after:]}"
    indent = _indent(text, last.start)
    body = f"{newline}{indent}{key}: {_dump(value, indent, unit, newline)}"
    return text[:after] + comma + text[after:inside_end] + body + text[inside_end:]


def _nested(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _dump(value: Any, indent: str, unit: str, newline: str) -> str:
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split(
        "\n"
    )  # no other line break: U+2028 is a text's own
    return newline.join([lines[0], *(indent + line for line in lines[1:])])


def _indent(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip())]


def _style(text: str) -> tuple[str, str]:
    """What one level of `text` is indented by, and how its lines end."""
    first = re.search(r"\n([ \t]+)\S", text)
    return (first[1] if first else "  "), ("\r\n" if "\r\n" in text else "\n")


def _tokens(text: str) -> list[tuple[int, int]]:
    """Where the tokens of `text` are, without spaces and comments. Raises `UsageError`."""
    found: list[tuple[int, int]] = []
    position = len(_BOM) if text.startswith(_BOM) else 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise UsageError("it is not JSON")
        position = match.end()
        if not (match[0].isspace() or match[0].startswith(("//", "/*"))):
            found.append(match.span())
    return found


def _parse(text: str) -> _Value:
    """The places in `text`, which `read` has accepted. Raises `UsageError` where a name stands twice."""
    value, _ = _value(text, _tokens(text), 0, 0)
    return value


def _value(text: str, tokens: list[tuple[int, int]], at: int, depth: int) -> tuple[_Value, int]:
    """The value whose first token is the `at`th, and the number of the token after it."""
    if depth > _MAX_DEPTH:
        raise UsageError("it is nested too deeply")
    start, end = tokens[at]
    opening = text[start:end]
    if opening not in {"{", "["}:
        return _Value(start, end), at + 1
    value, at = _Value(start, is_object=opening == "{"), at + 1
    while text[slice(*tokens[at])] not in {"}", "]"}:
        if text[slice(*tokens[at])] == ",":
            value.comma, at = tokens[at][0], at + 1
            continue
        value.comma = -1
        if not value.is_object:
            _, at = _value(text, tokens, at, depth + 1)
            continue
        name, place = json.loads(text[slice(*tokens[at])]), tokens[at][0]
        if value.member(name):
            raise UsageError(f"it has {name!r} twice")
        inner, at = _value(text, tokens, at + 2, depth + 1)
        value.members.append(_Member(name, place, inner))
    value.end = tokens[at][1]
    return value, at + 1
