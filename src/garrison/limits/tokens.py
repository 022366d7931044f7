"""How many AI tokens a text is, roughly, without a model's tokenizer.

How honest it is, measured against OpenAI's cl100k and o200k vocabularies: English, code, SQL, shell commands and JSON
come out between 0.85 and 1.3 times the real count; Chinese, Japanese and Korean between 0.9 and 1.6; Cyrillic, Arabic,
Hindi and Thai between 0.8 and, for the newer vocabulary, 2.7; base64 and runs of emoji at about half. Other models'
vocabularies differ by as much again. Good enough for a budget, not for a bill.
"""

import string
from collections.abc import Callable, Mapping
from typing import TypeAlias

from garrison.limits.words import count_by_words

TokenCounter: TypeAlias = Callable[[bytes | str], int]

_WORDS = (string.ascii_letters + " \n").encode()
_NOT_ASCII = bytes(range(0x80, 0x100))

# Tokens per byte, in twelfths: words are long tokens, digits and punctuation short ones, UTF-8 in between.
_WORD, _OTHER, _HIGH, _UNIT = 3, 8, 4, 12


def estimate_tokens(data: bytes | str) -> int:
    """AI tokens in `data`, estimated from its UTF-8 bytes in linear time; 0 only for nothing at all."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    not_words = raw.translate(None, _WORDS)
    high = 0 if not_words.isascii() else len(not_words) - len(not_words.translate(None, _NOT_ASCII))
    twelfths = len(raw) * _WORD + len(not_words) * (_OTHER - _WORD) - high * (_OTHER - _HIGH)
    return -(-twelfths // _UNIT)


COUNTERS: Mapping[str, TokenCounter] = {"estimate": estimate_tokens, "words": count_by_words}
"""What `LimitSettings.token_counter` can be."""
