"""RFC 6570 level 1 and MCP's `{path*}` (`{+path}` to the SDK): which URIs a template stands for.

Matching is by segments, in linear time and without a choice: at most one variable between two slashes, and one
`{path*}` in a template. A variable takes one or more characters, no slash among them unless it is `{path*}`.

The app decodes, and may fold, what it takes out of a URI; so a URI that could mean another thing then is refused where
templates are asked: one not in RFC 3986's normal form (§6.2.2), with dot segments, with encoded slashes or controls,
with a query or fragment.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from garrison.base.errors import UsageError

MAX_URI = 8192
"""Characters of a URI that is held against templates."""
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/@!$&'()*+,;=-]|%[0-9A-F]{2})+")
"""RFC 3986 §2 without `?`, `#` and brackets; hexadecimal digits in upper case (§6.2.2.1)."""
_ENCODED = re.compile(r"%([0-9A-F]{2})")
_NEVER_ENCODED = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"  # unreserved: the normal form has them plain
    b"/\\%?#"
)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
_VARIABLE = re.compile(r"\{(\+?)([A-Za-z_][A-Za-z0-9_-]*)(\*?)\}")
_HINT = "A template is a URI with {name} or {path*} in it: users://{id}/profile, files:///{path*}."


def is_template(uri: str) -> bool:
    """Whether the policy's `uri` is a template: braces stand in no URI (RFC 3986)."""
    return "{" in uri or "}" in uri


def is_plain(uri: str) -> bool:
    """Whether `uri` can only be read in one way, and so may be held against templates."""
    if len(uri) > MAX_URI or not _CHARACTERS.fullmatch(uri) or any(map(_is_dots, uri.split("/"))):
        return False
    if "%" not in uri:
        return True
    if any(int(found, 16) in _NEVER_ENCODED for found in _ENCODED.findall(uri)):
        return False
    try:
        decoded = unquote(uri, errors="strict")
    except UnicodeDecodeError:
        return False
    if any(unicodedata.category(character) in _HIDDEN for character in decoded):
        return False
    return not any(map(_is_dots, folded(uri).split("/")))


def folded(uri: str) -> str:
    """What a reader that decodes, and minds neither case nor compatibility characters, would make of `uri`."""
    if "%" not in uri and uri.isascii():
        return uri.lower()
    return unicodedata.normalize("NFKC", unquote(uri, errors="replace")).casefold()


@dataclass(frozen=True, slots=True)
class _Piece:
    """What stands between two slashes: text, or one variable with text before and behind it."""

    before: str
    variable: str | None = None
    behind: str = ""
    wild: bool = False

    def take(self, text: str) -> str | None:
        """The variable's value in `text` ("" for a piece without one); None where it doesn't fit."""
        if self.variable is None:
            return "" if text == self.before else None
        if not text.startswith(self.before) or not text[len(self.before) :].endswith(self.behind):
            return None
        value = text[len(self.before) : len(text) - len(self.behind)]
        return value if _is_value(value) else None


@dataclass(frozen=True, slots=True)
class UriTemplate:
    text: str
    _pieces: tuple[_Piece, ...]
    _folded: tuple[_Piece, ...]
    _start: str
    _start_folded: str

    @classmethod
    def parse(cls, text: str) -> "UriTemplate":
        """Raises `UsageError` for a template that couldn't be matched without doubt."""
        pieces = tuple(_piece(text, part) for part in text.split("/"))
        variables = [piece.variable for piece in pieces if piece.variable is not None]
        if not _SCHEME.match(text):
            raise UsageError(f"The URI template {text!r} has no scheme in lower case.", _HINT)
        if not variables or len(set(variables)) != len(variables):
            raise UsageError(f"The URI template {text!r} has no variable, or the same twice.", _HINT)
        if sum(piece.wild for piece in pieces) > 1:
            raise UsageError(f"The URI template {text!r} has more than one {{path*}}.", _HINT)
        start = text.partition("{")[0]
        return cls(text, pieces, tuple(_fold(piece) for piece in pieces), start, folded(start))

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(piece.variable for piece in self._pieces if piece.variable is not None)

    def could_match(self, uri: str, loose: str) -> bool:
        """False, and soon so, for most of what neither `match(uri)` nor `matches_folded(loose)` would take."""
        return uri.startswith(self._start) or loose.startswith(self._start_folded)

    def match(self, uri: str) -> dict[str, str] | None:
        """The decoded values of the variables, if the template stands for the `is_plain` URI `uri`."""
        found = _match(self._pieces, uri)
        if found is None:
            return None
        return {name: unquote(value) for name, value in found.items()}

    def matches_folded(self, uri: str) -> bool:
        """Whether it stands for `uri`, which is `folded`, in the eyes of a reader that folds the template too."""
        return _match(self._folded, uri) is not None


def _match(pieces: Sequence[_Piece], uri: str) -> dict[str, str] | None:
    parts = uri.split("/")
    more = len(parts) - len(pieces)
    wild = next((index for index, piece in enumerate(pieces) if piece.wild), None)
    if wild is not None and more >= 0:
        parts = [*parts[:wild], "/".join(parts[wild : wild + more + 1]), *parts[wild + more + 1 :]]
    if len(parts) != len(pieces):
        return None
    values: dict[str, str] = {}
    for piece, part in zip(pieces, parts, strict=True):
        value = piece.take(part)
        if value is None:
            return None
        if piece.variable is not None:
            values[piece.variable] = value
    return values


def _piece(template: str, part: str) -> _Piece:
    found = list(_VARIABLE.finditer(part))
    before, behind = (part[: found[0].start()], part[found[0].end() :]) if found else (part, "")
    if len(found) > 1:
        raise UsageError(f"The URI template {template!r} has two variables between two slashes.", _HINT)
    if any(text and not is_plain(text) for text in (before, behind)):
        raise UsageError(f"The URI template {template!r} has text or an expression that can't be matched.", _HINT)
    if not found:
        return _Piece(before)
    plus, name, star = found[0].groups()
    return _Piece(before, name, behind, wild=bool(plus or star))


def _fold(piece: _Piece) -> _Piece:
    return _Piece(folded(piece.before), piece.variable, folded(piece.behind), piece.wild)


def _is_value(value: str) -> bool:
    return all(part and not _is_dots(part) for part in value.split("/"))


def _is_dots(part: str) -> bool:
    """A dot segment (RFC 3986 §5.2.4), also with parameters behind it, which some readers take off."""
    return part.partition(";")[0] in {".", ".."}
