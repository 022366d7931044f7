"""Where a client may be led (MCP security best practices; CVE-2025-6514): rules for every URL that metadata names.

The user's own URL says what kind of place the server is in. A server on this machine may name others on this machine;
a server elsewhere may not lead us to this machine, and nobody may lead us to a plain-http address off loopback, to
another scheme, or to a literal special-use address. Names are judged once more, by their addresses, in base/fetch.py.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from garrison.base.addresses import is_loopback_host, is_public
from garrison.base.errors import FetchError, GarrisonError, UsageError
from garrison.base.fetch import check_url
from garrison.clients.errors import AuthorizationFailed


def is_local(url: str) -> bool:
    return is_loopback_host(urlsplit(url).hostname or "")


def check_configured(url: str) -> str:
    """`url` as the user gave it, if it is https, or http on loopback. Raises `UsageError`."""
    try:
        parts = check_url(url)
    except FetchError as error:
        raise UsageError(error.message, error.hint) from error
    if parts.fragment:
        raise UsageError("the address must have no #fragment")
    return url


def check_named(url: str, what: str, *, local: bool, private_addresses: bool = False) -> str:
    """`url`, which a server named as its `what`, if we may go there.

    Args:
        url: the address.
        what: `token_endpoint` and the like, for the sentence.
        local: whether the user's own URL is on loopback.
        private_addresses: whether the user said that special-use addresses are fine.

    Raises:
        AuthorizationFailed: we may not.
    """
    try:
        parts = check_url(url)
    except FetchError as error:
        raise _refused(what, error.message) from error
    host = parts.hostname or ""
    if is_loopback_host(host):
        if not local:
            raise _refused(what, "it is on this machine, and the server is not")
    elif _is_special(host) and not private_addresses:
        raise _refused(what, "it is a special-use address")
    if parts.fragment:
        raise _refused(what, "it has a fragment")
    return url


def _is_special(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return not is_public(host)


def _refused(what: str, why: str) -> GarrisonError:
    return AuthorizationFailed(
        f"the server's metadata names a {what} that this client will not use: {why}",
        "Do not trust this server before its operator has explained that address.",
    )
