r"""Canonical text: which characters a text may hold, and the one form in which it is stored or compared.

Text is never refused for what it says, only for characters that a machine reads and a person doesn't see: they hide
words from whoever approves them, reorder what is shown, or forge lines. This is no filter against steganography.

Refused: control characters (but tab, LF and CR LF in text of several lines), line and paragraph separators, lone
surrogates, non-characters, bidirectional embeddings, overrides and isolates, the tag block (and with it the three flags
that are written in it), and every other invisible character but these, which honest writing needs:

- variation selectors right after the visible character that they vary (emoji, keycaps, Han variants);
- zero-width joiners and non-joiners right after a character outside ASCII (emoji, Persian, the scripts of India);
- soft hyphens and the three directional marks, one at a time (pasted web pages, Hebrew, Arabic).

So invisible characters don't come in runs, in which whole texts can be hidden. Nor do combining ones beyond the 30 of
UAX #15's Stream-Safe Text Format: Python puts a run in order in time that grows with its square (a megabyte: minutes).
"""

import re
import unicodedata

_SELECTORS = r"\ufe00-\ufe0f\U000e0100-\U000e01ef"
_JOINERS = r"\u200c\u200d"
_MARKS = r"\u00ad\u061c\u200e\u200f"

# Unicode's Default_Ignorable_Code_Point and the categories Cf, Zl and Zp, less what is named above and less the format
# characters that are seen (signs that enclose numbers); and the Braille cell without dots.
_INVISIBLE = (
    r"\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffb"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_MAX_COMBINING = 30
_COMBINE_APART = str.maketrans(dict.fromkeys("\u0f73\u0f75\u0f81\uff9e\uff9f", "\u0f71"))
"""Tibetan and Japanese signs without a combining class, of which the normal forms make such as have one."""
_SURROGATES = r"\ud800-\udfff"
_NONCHARACTERS = r"\ufdd0-\ufdef\ufffe\uffff"
_ALWAYS = _CONTROLS + _SURROGATES + _NONCHARACTERS + _INVISIBLE
_SEEN = rf"[^\x00-\x7f\s{_SELECTORS}{_JOINERS}{_MARKS}]"  # outside ASCII; what is refused anyway is not worth excluding


def _refused(line_breaks: str) -> re.Pattern[str]:
    """Finds the first character that is not allowed. It starts with one class, so that plain text is searched fast."""
    return re.compile(
        rf"[{_ALWAYS}{line_breaks}{_SELECTORS}{_JOINERS}{_MARKS}](?:"
        rf"(?<=[{_ALWAYS}])"
        rf"|(?<=[{line_breaks}])(?!(?<=\r)\n)"
        rf"|(?<=[{_SELECTORS}])(?<!(?:{_SEEN}|[0-9#*])[{_SELECTORS}])"
        rf"|(?<=[{_JOINERS}])(?<!(?:{_SEEN}|[{_SELECTORS}])[{_JOINERS}])"
        rf"|(?<=[{_SELECTORS}{_JOINERS}{_MARKS}][{_MARKS}]))"
    )


_COULD_COMBINE = re.compile(rf"[^\x00-\u02ff]{{{_MAX_COMBINING + 1}}}")  # all that combine come after these
_MULTILINE, _ONE_LINE = _refused(r"\r"), _refused(r"\t\n\r")


def problem(text: str, *, multiline: bool = True) -> str | None:
    """What is wrong with `text`, in public words that name the character by code point and place; None if nothing."""
    found = (_MULTILINE if multiline else _ONE_LINE).search(text)
    if found is not None:
        return f"holds the character U+{ord(found[0]):04X} at position {found.start()}, which is not allowed here"
    if (at := _long_run(text)) >= 0:
        return f"holds more than {_MAX_COMBINING} combining characters in a row, at position {at}"
    return None


def _long_run(text: str) -> int:
    """Where more characters combine in a row than may; -1 for nowhere. Most texts have no stretch to look into."""
    if text.isascii() or not _COULD_COMBINE.search(text):
        return -1
    classes = map(unicodedata.combining, text.translate(_COMBINE_APART))
    return bytes(map(bool, classes)).find(b"\1" * (_MAX_COMBINING + 1))


def canonical(text: str, *, multiline: bool = True) -> str:
    """The form to store: Unicode NFC, lines ended by LF.

    Raises:
        ValueError: with what `problem` says.
    """
    wrong = problem(text, multiline=multiline)
    if wrong is not None:
        raise ValueError(wrong)
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n"))


def comparable(text: str) -> str:
    """The form to compare by, never to store: Unicode's NFKC_Casefold as far as the standard library goes."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
