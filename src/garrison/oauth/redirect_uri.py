"""Redirect URIs: what may be registered and what matches (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1)."""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, urlencode, urlsplit

from garrison.oauth.errors import InvalidRequest

_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()+,;=%-]+")  # RFC 3986 §2, but for the wildcard
_PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")  # RFC 8252 §7.1: a reversed domain name
_NETLOC = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")  # a host that a CSP source can name, too
_LOCALHOST = "localhost"


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # urlsplit judges the port only when asked for it
    except ValueError as error:
        raise InvalidRequest("redirect_uri is not a URI") from error
    return parts


def is_loopback_ip(host: str | None) -> bool:
    """Whether `host` is a literal loopback address; a name never is, whatever it resolves to (RFC 8252 §8.3)."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_loopback(uri: str) -> bool:
    """Whether a redirect to `uri` stays on the user's own machine, where any program may be listening."""
    host = _split(uri).hostname
    return host == _LOCALHOST or is_loopback_ip(host)


def check_registrable(uri: str) -> None:
    """Refuse what could carry a code off: only https, http on loopback, or a reversed-domain private scheme.

    Raises:
        InvalidRequest: it is none of these, or has a fragment, userinfo, a wildcard or characters that no URI has.
    """
    parts = _split(uri)
    if not _CHARACTERS.fullmatch(uri):
        raise InvalidRequest("redirect_uri must be made of a URI's characters, without wildcards")
    if "#" in uri or "@" in parts.netloc:
        raise InvalidRequest("redirect_uri must have no fragment and no user name")
    if parts.netloc and not _NETLOC.fullmatch(parts.netloc):
        raise InvalidRequest("redirect_uri must have a plain host name or address")
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and (parts.hostname == _LOCALHOST or is_loopback_ip(parts.hostname)):
        return
    if _PRIVATE_SCHEME.fullmatch(parts.scheme) and not parts.netloc and parts.path.startswith("/"):
        return
    raise InvalidRequest("redirect_uri must be https, http on loopback, or a private scheme such as com.example.app:/")


def _same_but_port(registered: str, requested: str) -> bool:
    """RFC 8252 §7.3: on a loopback IP, and only there, the port is the client's to choose at run time."""
    a, b = _split(registered), _split(requested)
    # The whole netloc, for urlsplit takes `evil.example[::1]` for the host ::1.
    return all(_NETLOC.fullmatch(parts.netloc) for parts in (a, b)) and (
        is_loopback_ip(a.hostname)
        and a.scheme == b.scheme == "http"
        and a.hostname == b.hostname
        and registered.replace(a.netloc, "", 1) == requested.replace(b.netloc, "", 1)
    )


def matches(registered: Iterable[str], requested: str) -> bool:
    """Whether `requested` is one of `registered`, byte for byte but for a loopback IP's port.

    Raises:
        InvalidRequest: `requested` is not a URI at all.
    """
    return any(uri == requested or _same_but_port(uri, requested) for uri in registered)


def with_params(uri: str, params: Mapping[str, str]) -> str:
    """`uri` with `params` added behind its own query, which is kept as it is (RFC 6749 §4.1.2)."""
    before, hash_sign, fragment = uri.partition("#")
    separator = "?" if "?" not in before else "" if before.endswith(("?", "&")) else "&"
    return f"{before}{separator}{urlencode(params)}{hash_sign}{fragment}" if params else uri
