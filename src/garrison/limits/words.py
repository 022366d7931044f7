"""How many AI tokens a text is, by its words: within a tenth of a real tokenizer on English, code and JSON.

A model's tokenizer cuts a text into words with the blank before them, runs of punctuation, groups of digits, and then
these into tokens. Here the first cut is made alike, and each piece weighs what pieces of its shape weigh on average.
The weights were fitted to OpenAI's cl100k vocabulary on English, Python, JavaScript, C, SQL, shell and JSON; o200k and
Anthropic's published vocabulary agree with them within a few hundredths (but for Anthropic's on JavaScript and SQL,
which come out a fifth and a tenth too small). It takes about 30 µs for 1 KB. Random letters come out at four fifths,
other scripts between 0.6 and 1.6 times the real count.
"""

import re
import string
from collections import Counter

_LOWER, _UPPER, _DIGIT, _BLANK, _BREAK, _MARK, _HIGH = b"a", b"A", b"0", b" ", b"\n", b".", b"\x80"


def _classes() -> bytes:
    table = bytearray(_MARK * 0x80 + _HIGH * 0x80)
    for characters, kind in (
        (string.ascii_lowercase, _LOWER),
        (string.ascii_uppercase, _UPPER),
        (string.digits, _DIGIT),
        (" \t", _BLANK),
        ("\r\n", _BREAK),
    ):
        for character in characters:
            table[ord(character)] = kind[0]
    return bytes(table)


_CLASSES = _classes()
_PIECE = re.compile(rb" ?A?a{1,15}| ?A{1,15}(?!a)|0{1,3}|[ \n]*\n| ?\.{1,8}| +|\x80")
"""Of a text whose bytes have become their classes; nothing in it looks back, so it takes linear time."""

# Tenths of a token, by the number of letters or marks from 1 up: alone, and with the blank before them.
_WORD = (
    (7, 11, 11, 7, 11, 5, 8, 11, 13, 14, 14, 16, 16, 17, 17, 17),
    (10, 9, 9, 11, 11, 13, 12, 11, 13, 14, 16, 16, 15, 17, 17, 17),
)
_CAPITALS = (
    (9, 10, 14, 13, 19, 16, 24, 30, 35, 40, 44, 48, 52, 56, 61),
    (8, 2, 12, 6, 14, 23, 26, 31, 35, 39, 44, 48, 52, 56, 59),
)
_MARKS = (6, 9, 10, 20, 22, 28, 33, 30), (13, 14, 16, 21, 25, 28, 32, 35)
_DIGITS = (15, 11, 12)
_NEW_LINE, _ONE_BLANK, _BLANKS, _HIGH_BYTE = 4, 6, 11, 4
_BLANKS_IN_A_TOKEN = 80
"""Longer runs of blanks than this are no token of any vocabulary."""


def _weights() -> dict[bytes, int]:
    weights = {_HIGH: _HIGH_BYTE, _BLANK: _ONE_BLANK}
    for lead, alone_or_led in ((b"", 0), (_BLANK, 1)):
        for length, weight in enumerate(_WORD[alone_or_led], start=1):
            weights[lead + _LOWER * length] = weights[lead + _UPPER + _LOWER * (length - 1)] = weight
        for length, weight in enumerate(_CAPITALS[alone_or_led], start=1):
            weights[lead + _UPPER * length] = weight
        for length, weight in enumerate(_MARKS[alone_or_led], start=1):
            weights[lead + _MARK * length] = weight
    for length, weight in enumerate(_DIGITS, start=1):
        weights[_DIGIT * length] = weight
    return weights


_WEIGHTS = _weights()


def count_by_words(data: bytes | str) -> int:
    """AI tokens in `data`, in linear time; 0 only for nothing at all."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    pieces = Counter(_PIECE.findall(raw.translate(_CLASSES)))
    tenths = sum((_WEIGHTS.get(piece) or _blanks(piece)) * number for piece, number in pieces.items())
    return -(-tenths // 10)


def _blanks(piece: bytes) -> int:
    """Runs of any length, so no table holds them."""
    one = _NEW_LINE if piece.endswith(_BREAK) else _BLANKS
    return one + 10 * (len(piece) // _BLANKS_IN_A_TOKEN)
