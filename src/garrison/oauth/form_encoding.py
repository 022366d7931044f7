"""RFC 6749 appendix B: names and values as application/x-www-form-urlencoded writes them."""

from urllib.parse import unquote_to_bytes


def decoded(text: str) -> str:
    """What `text` was before it was encoded; `unquote_plus` looks for what is no ASCII, at three times the price.

    Raises:
        ValueError: it is not UTF-8.
    """
    return unquote_to_bytes(text.replace("+", " ")).decode() if "%" in text or "+" in text else text
