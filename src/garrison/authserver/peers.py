"""Who is asking: the peer's address, or what a configured proxy says of it (never anybody else's headers)."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.requests import Request

_IPV6_SITE = 64


def peer_address(request: Request, trusted_proxies: Sequence[str]) -> str:
    """The address nearest to us that is not a trusted proxy's; empty where there is none.

    X-Forwarded-For is read from its end, where our own proxies write: its beginning is whatever the client sent.
    """
    address = _parse(request.client.host if request.client else "")
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    while address and forwarded and any(address in ip_network(proxy) for proxy in trusted_proxies):
        nearer = _parse(forwarded.pop())
        if nearer is None:
            break
        address = nearer
    return str(address or "")


def back_off_unit(address: str) -> str:
    """What counts as one stranger: an IPv4 address, or an IPv6 site, whose owner has 2^64 addresses to try from."""
    if isinstance(_parse(address), IPv6Address):
        return str(ip_network(f"{address.partition('%')[0]}/{_IPV6_SITE}", strict=False))
    return address


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
