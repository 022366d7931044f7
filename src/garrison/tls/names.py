"""The names a certificate may carry (RFC 5280 §4.2.1.6) and a CA may vouch for (RFC 5280 §4.2.1.10)."""

import ipaddress
import re
from collections.abc import Iterable

from cryptography import x509

from garrison.base.errors import GarrisonError, UsageError

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""What every local server certificate carries."""

_MAX_HOST_NAME = 253
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LOOPBACK = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))

Name = x509.DNSName | x509.IPAddress


def parse(name: str) -> Name:
    """A host name in letters, digits and hyphens (RFC 1123 §2.1), or an IP address, as it stands in a certificate.

    Raises:
        UsageError: it is neither; wildcards are not taken, because a local CA has no need of them.
    """
    text = name.strip("[]").lower()
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        labels = text.split(".")
        # A last label of digits alone would be an IPv4 address that somebody mistyped.
        if len(text) <= _MAX_HOST_NAME and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit():
            return x509.DNSName(text)
    raise UsageError(
        f"{name[:100]!r} is neither a host name nor an IP address.",
        "Write a name like mcp.example.com (international names in their xn-- form), or an address like 192.0.2.7.",
    )


def parse_all(names: Iterable[str]) -> tuple[Name, ...]:
    """`LOCAL_NAMES` and `names`, each once, in this order."""
    return tuple(dict.fromkeys(parse(name) for name in (*LOCAL_NAMES, *names)))


def of_certificate(certificate: x509.Certificate) -> tuple[Name, ...]:
    """The names in a certificate's subjectAltName, without the kinds that no server is called by."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(name for name in extension.value if isinstance(name, x509.DNSName | x509.IPAddress))


def constraints(names: Iterable[Name]) -> x509.NameConstraints:
    """What a CA for `names` is held to: the loopback networks, and each further name or address by itself."""
    permitted: list[x509.GeneralName] = [x509.IPAddress(network) for network in _LOOPBACK]
    for name in names:
        subtree = name if isinstance(name, x509.DNSName) else x509.IPAddress(ipaddress.ip_network(str(name.value)))
        if not _inside(name, permitted):
            permitted.append(subtree)
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)


def check_permitted(authority: x509.Certificate, names: Iterable[Name]) -> None:
    """Raises GarrisonError for the first of `names` that `authority` may not vouch for."""
    try:
        extension = authority.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return
    permitted = extension.value.permitted_subtrees or []
    for name in names:
        if not _inside(name, permitted):
            raise GarrisonError(
                f"The local CA may not vouch for {name.value}: it was made for {', '.join(map(_text, permitted))}.",
                "Name it when the CA is made: remove ca.pem, ca-key.pem, server.pem and server-key.pem, run "
                "`garrison certs init --name …` with every name, and trust the new ca.pem.",
            )


def _inside(name: Name, permitted: Iterable[x509.GeneralName]) -> bool:
    return any(_covers(subtree, name) for subtree in permitted)


def _covers(subtree: x509.GeneralName, name: Name) -> bool:
    if isinstance(subtree, x509.DNSName) and isinstance(name, x509.DNSName):
        return name.value == subtree.value or name.value.endswith(f".{subtree.value}")
    if isinstance(subtree, x509.IPAddress) and isinstance(name, x509.IPAddress):
        return ipaddress.ip_address(str(name.value)) in ipaddress.ip_network(str(subtree.value))
    return False


def _text(name: x509.GeneralName) -> str:
    return str(name.value)
