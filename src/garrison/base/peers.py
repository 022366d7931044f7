"""Who is asking: the peer's address, or what a configured proxy says of it (never anybody else's headers)."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from garrison.base.errors import UsageError

_IPV6_SITE = 64
_NEIGHBOURHOODS = {4: 24, 6: 48}
_FORWARDED_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*"?([^";]+)"?\s*(?:;|$)', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([0-9.]+):\d+")


class Peers:
    """Args: trusted_proxies: addresses or networks of the proxies that are believed.

    Attributes:
        trusted: them; where there are none, no header need be looked at.

    Raises:
        UsageError: one of them is neither.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        try:
            self.trusted = tuple(ip_network(proxy) for proxy in trusted_proxies)
        except ValueError as error:
            raise UsageError(f"trusted_proxies: {error}") from error

    def address(self, peer: str, x_forwarded_for: Sequence[str] = (), forwarded: Sequence[str] = ()) -> str:
        """The address nearest to us that is not a trusted proxy's; empty where there is none.

        Args:
            peer: the address that the connection comes from.
            x_forwarded_for: the values of that header.
            forwarded: the values of RFC 7239's header.

        They are read from their end, where our own proxies write: their beginning is whatever the client sent. A proxy
        writes one of the two and may let the client's other one through, so with both of them neither is believed.
        """
        if not self.trusted or (x_forwarded_for and forwarded):
            return _normal(peer)
        address = _parse(peer)
        hops = _hops(x_forwarded_for) if x_forwarded_for else [_forwarded_for(hop) for hop in _hops(forwarded)]
        while address and hops and any(address in network for network in self.trusted):
            nearer = _parse(hops.pop())
            if nearer is None:
                break
            address = nearer
        return str(address or "")


def stranger_unit(address: str) -> str:
    """What counts as one stranger: an IPv4 address, or an IPv6 site, whose owner has 2^64 addresses to try from."""
    if isinstance(_parse(address), IPv6Address):
        return str(ip_network(f"{address.partition('%')[0]}/{_IPV6_SITE}", strict=False))
    return address


def neighbourhood(address: str) -> str:
    """What one owner may well have all of: 256 IPv4 addresses, or what a site gets of IPv6 (RFC 6177)."""
    parsed = _parse(address)
    if parsed is None:
        return address
    return str(ip_network(f"{str(parsed).partition('%')[0]}/{_NEIGHBOURHOODS[parsed.version]}", strict=False))


@lru_cache(maxsize=1024)
def _normal(peer: str) -> str:
    return str(_parse(peer) or "")


def _hops(headers: Sequence[str]) -> list[str]:
    return ",".join(headers).split(",")


def _forwarded_for(hop: str) -> str:
    found = _FORWARDED_FOR.search(hop)
    return found.group(1) if found else ""


@lru_cache(maxsize=1024)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Also with a port, as some proxies write it; an IPv4 address in IPv6's clothes is an IPv4 address."""
    text = text.strip()
    if with_port := _WITH_PORT.fullmatch(text):
        text = with_port.group(1) or with_port.group(2)
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
