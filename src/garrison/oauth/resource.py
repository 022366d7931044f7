"""RFC 8707: resource indicators, the name of the server that a token is for."""

from urllib.parse import urlsplit

from garrison.oauth.errors import InvalidTarget


def check(uri: str) -> str:
    """`uri`, if it can name a resource (§2): absolute http(s), with a host, without fragment or userinfo.

    Raises:
        InvalidTarget: it can't.
    """
    try:
        parts = urlsplit(uri)
        _ = parts.port  # urlsplit judges the port only when asked for it
    except ValueError as error:
        raise InvalidTarget("resource is not a URI") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or "#" in uri or "@" in parts.netloc:
        raise InvalidTarget("resource must be an absolute http(s) URI without fragment and user name")
    if not uri.isascii() or not uri.isprintable() or " " in uri:
        raise InvalidTarget("resource must be printable ASCII")
    return uri


def same(a: str, b: str) -> bool:
    """Whether `a` and `b` name one resource: byte for byte, but for one trailing slash.

    The MCP specification asks for the form without the slash and wants the other accepted too.
    """
    return a.removesuffix("/") == b.removesuffix("/")
